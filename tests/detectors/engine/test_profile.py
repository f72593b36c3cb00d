"""Profiles are content-addressed, complete, and refuse what they do not understand."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from gamekeeper.detectors.engine import (
    DetectorProfile,
    Promise,
    check_thresholds,
    default_profile,
    override,
    resolve,
)
from gamekeeper.schemas.errors import ProfileError
from gamekeeper.stream.profile_files import load_profile


def test_the_default_profile_names_every_threshold_and_promises_nothing():
    """What ships uncalibrated says so."""
    profile = default_profile()
    assert all(each.threshold is not None for each in profile.detectors)
    assert profile.promise == Promise(alpha=None)


def test_the_hash_depends_on_content_only(tmp_path: Path):
    """A profile read back from a file is the same profile; a changed threshold is another."""
    profile = default_profile()
    path = tmp_path / "profile.json"
    path.write_bytes(msgspec.json.encode(profile))
    assert load_profile(path).hash == profile.hash
    assert override(profile, ["prada.threshold=0.5"]).hash != profile.hash


def test_sets_choose_options_thresholds_and_policy():
    """Values are JSON where they can be, text otherwise."""
    sets = ["prada.mode=paper", "prada.threshold=0.04", "policy.mode=reset"]
    profile = override(default_profile(), sets)
    assert profile.detectors == (
        DetectorProfile(detector="prada", options={"mode": "paper"}, threshold=0.04),
    )
    assert profile.policy.mode == "reset"


def test_another_threshold_drops_the_promise():
    """A promise holds for the thresholds it was calibrated with, and no others."""
    promised = msgspec.structs.replace(default_profile(), promise=Promise(alpha=0.01))
    assert override(promised, []).promise.alpha == 0.01
    assert override(promised, ["prada.threshold=0.5"]).promise.alpha is None


def test_a_promise_may_stand_without_a_measurement(tmp_path: Path):
    """What was measured on held-out accounts is optional in a file, and absent by default."""
    path = tmp_path / "profile.json"
    detectors = b'"detectors": [{"detector": "prada"}]'
    path.write_bytes(b'{"name": "x", "promise": {"alpha": 0.1, "accounts": 9}, ' + detectors + b"}")
    promise = load_profile(path).promise
    assert promise == Promise(alpha=0.1, accounts=9)
    assert (promise.held_out_accounts, promise.held_out_interval) == (0, None)


@pytest.mark.parametrize(
    "text",
    [
        "prada",
        "prada.mode",
        "prada.mode=sideways",
        "prada.colour=red",
        "prada.threshold=high",
        "prada-v1.window=9",
        "policy.mode=never",
        "policy.close_after=-1",
        "policy.close_after=NaN",
        "policy.close_after=Infinity",
        "=1",
    ],
)
def test_what_no_detector_understands_is_refused(text: str):
    """The error repeats what was asked for or names what is valid."""
    with pytest.raises(ProfileError):
        override(default_profile(), [text])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("policy.mode=foo", "--set policy.mode=foo: there are: latch, reset"),
        ("policy.close_after=soon", "--set policy.close_after=soon: give seconds"),
        ("policy.moode=latch", "it has: mode, close_after"),
    ],
)
def test_what_a_policy_may_be_is_said(text: str, message: str):
    """Its two options and their values are listed."""
    with pytest.raises(ProfileError, match=message):
        override(default_profile(), [text])


def test_an_unknown_detector_is_refused_with_the_known_ones():
    """The message lists the detectors there are."""
    with pytest.raises(ProfileError, match="prada"):
        override(default_profile(), [], ["pradda"])


def test_a_detector_named_twice_is_refused():
    """Verdict ids would collide."""
    twice = (DetectorProfile(detector="prada"), DetectorProfile(detector="prada"))
    with pytest.raises(ProfileError, match="twice"):
        resolve(msgspec.structs.replace(default_profile(), detectors=twice))


@pytest.mark.parametrize("text", ["", "{}", '{"schema": 9}', '{"name": "x", "colour": 1}', '{"na'])
def test_a_broken_profile_file_names_itself(tmp_path: Path, text: str):
    """The error begins with the path."""
    path = tmp_path / "broken.json"
    path.write_text(text)
    with pytest.raises(ProfileError, match=r"broken\.json"):
        load_profile(path)


def test_a_missing_profile_file_names_itself(tmp_path: Path):
    """So does the one that is not there, with what writes one."""
    with pytest.raises(ProfileError, match=r"nowhere\.json: no such file; `gamekeeper calibrate"):
        load_profile(tmp_path / "nowhere.json")


def test_a_file_with_a_negative_quiet_time_is_refused(tmp_path: Path):
    """`close_after` below 0 would close findings with the events that open them."""
    path = tmp_path / "profile.json"
    policy = b'"policy": {"close_after": -0.5}'
    path.write_bytes(b'{"name": "x", "detectors": [{"detector": "prada"}], ' + policy + b"}")
    with pytest.raises(ProfileError, match=r"'x' has policy\.close_after -0\.5; give 0 seconds"):
        load_profile(path)


def test_a_detector_that_cannot_alarm_is_refused_where_it_has_to():
    """The service needs a threshold of each detector; the message says what chooses one."""
    profile = override(default_profile(), [], ["prada", "rate"])
    assert [each.threshold for each in profile.detectors] == [0.1, None]
    with pytest.raises(ProfileError, match=r"rate .*gamekeeper calibrate.*rate\.threshold"):
        check_thresholds(profile)
    chosen = override(profile, ["rate.threshold=3"])
    assert check_thresholds(chosen) is chosen
