"""Habits that a profile declares: what may be said of an account, and what is refused."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gamekeeper.detectors.engine import DeclaredHabit, Profile, default_profile, override, resolve
from gamekeeper.detectors.engine.habits import MOST_BUDGET, MOST_HABITS, MOST_INPUTS
from gamekeeper.replay.tune.calibration import SHIPPED
from gamekeeper.schemas.errors import ProfileError
from gamekeeper.stream.profile_files import load_profile

EXPLAINER = DeclaredHabit(
    account="ada", habit="explainer", owner="Kim", until="2027-03-01", budget=5000
)
MIDNIGHT = 1_803_859_200_000_000  # 2027-03-01 in UTC, in microseconds


def declaring(*habits: DeclaredHabit) -> Profile:
    """Make a profile that declares habits."""
    return resolve(msgspec.structs.replace(default_profile(), habits=habits))


def with_changes(**changes: Any) -> DeclaredHabit:
    """Declare the explainer otherwise."""
    return msgspec.structs.replace(EXPLAINER, **changes)


def test_profiles_without_declarations_keep_their_hashes() -> None:
    """A file of before is still what its hash is of; one that declares something is another."""
    assert hashlib.sha256(SHIPPED.read_bytes()).hexdigest()[:16] == load_profile(SHIPPED).hash
    assert "habits" not in json.loads(default_profile().canonical)
    assert declaring(EXPLAINER).hash != default_profile().hash
    assert declaring(EXPLAINER).promise == default_profile().promise


def test_a_declaration_survives_the_file_and_other_thresholds(tmp_path: Path) -> None:
    """It is read back as it was, and stays where a threshold is set."""
    (tmp_path / "x.json").write_bytes(declaring(EXPLAINER).canonical)
    again = load_profile(tmp_path / "x.json")
    assert again == declaring(EXPLAINER)
    assert override(again, ["prada.threshold=0.5"]).declared == {"ada": EXPLAINER}


@pytest.mark.parametrize(
    ("until", "ends"),
    [
        ("2027-03-01", MIDNIGHT),
        ("2027-03-01T00:00:00", MIDNIGHT),
        ("2027-03-01T00:00:00Z", MIDNIGHT),
        ("2027-03-01T02:00:00.000001+02:00", MIDNIGHT + 1),
    ],
)
def test_an_expiry_is_read_as_utc(until: str, ends: int) -> None:
    """A date is its first moment; an offset is heeded."""
    assert with_changes(until=until).ends == ends


def test_a_probe_that_does_not_say_has_twenty_inputs() -> None:
    """What is said stays; nothing else has inputs."""
    probes = [with_changes(habit="probe", inputs=inputs) for inputs in (None, 3)]
    made = declaring(
        *(msgspec.structs.replace(each, account=str(n)) for n, each in enumerate(probes))
    )
    assert [each.inputs for each in made.habits] == [20, 3]
    assert declaring(EXPLAINER).habits[0].inputs is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"habit": "thief"}, "'thief' is none to declare; there are: probe, load test"),
        ({"until": "soon"}, "until 'soon' is no date: write 2027-03-01"),
        ({"until": "20270301"}, "is no date"),
        ({"until": "2027-02-30"}, "is no date"),
        ({"budget": 0}, "budget is 0: give 1 to"),
        ({"budget": -1}, "budget is -1"),
        ({"budget": MOST_BUDGET + 1}, "queries a day"),
        ({"owner": " "}, "owner is ' ': write 1 to 256"),
        ({"account": ""}, "account is ''"),
        ({"account": "a" * 257}, "write 1 to 256 characters"),
        ({"inputs": 5}, "of a probe alone, not of: explainer"),
        ({"habit": "probe", "inputs": 0}, "inputs is 0: give 1 to 100"),
        ({"habit": "probe", "inputs": MOST_INPUTS + 1}, "what sends more is no probe"),
    ],
)
def test_what_cannot_be_declared_is_refused(changes: dict[str, Any], words: str) -> None:
    """The error names the profile, the account and what to write."""
    with pytest.raises(ProfileError, match="profile 'default', declared habit of account") as error:
        declaring(with_changes(**changes))
    assert words in str(error.value)


def test_an_account_has_one_habit_and_a_profile_not_too_many() -> None:
    """Both say what to do instead."""
    with pytest.raises(ProfileError, match="2 habits of account 'ada': declare one"):
        declaring(EXPLAINER, with_changes(habit="probe"))
    many = [with_changes(account=str(number)) for number in range(MOST_HABITS + 1)]
    with pytest.raises(ProfileError, match="1001 habits, at most 1000: revoke"):
        declaring(*many)
    assert len(declaring(*many[1:]).declared) == MOST_HABITS


@pytest.mark.parametrize(
    "text",
    [
        '{"account": "a"}',
        '{"account": "a", "habit": "probe", "owner": "k", "until": "2027-03-01", "budget": "9"}',
        '{"account": "a", "habit": "probe", "owner": "k", "until": 2027, "budget": 9}',
        '{"account": "a", "habit": "probe", "owner": "k", "until": "2027-03-01", "budget": 1e99}',
        '{"account": "a", "habit": "probe", "owner": "k", "until": "2027", "budget": 9, "x": 1}',
    ],
)
def test_a_declaration_of_another_form_names_its_file(tmp_path: Path, text: str) -> None:
    """Nothing is guessed of what is missing, mistyped or unknown."""
    path = tmp_path / "x.json"
    path.write_text(f'{{"name": "x", "detectors": [{{"detector": "prada"}}], "habits": [{text}]}}')
    with pytest.raises(ProfileError, match=r"x\.json"):
        load_profile(path)
