"""`gamekeeper profile`: what it shows, what it finds different, and whether a promise holds."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from gamekeeper.detectors import catalog
from gamekeeper.detectors.engine import (
    DetectorProfile,
    Profile,
    Promise,
    default_profile,
    override,
    resolve,
)
from gamekeeper.detectors.engine.habits import EXPLAINS
from gamekeeper.replay.cli.declare import HABITS
from gamekeeper.replay.cli.profile import profile as command
from gamekeeper.replay.tune.calibration import Plan, calibrate, differences, start, write_profile
from gamekeeper.replay.tune.calibration.profiles import flat
from gamekeeper.replay.tune.evaluation import clopper_pearson
from gamekeeper.schemas.errors import ProfileError, TraceError
from gamekeeper.stream.profile_files import load_networks, load_profile
from support.toys import Echo, random_values, write_values


def run(*arguments: str | Path) -> Result:
    """Run `gamekeeper profile` in this process."""
    return CliRunner().invoke(command, [*map(str, arguments)])


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch) -> Profile:
    """A profile of a detector that repeats what is sent."""
    monkeypatch.setitem(catalog.DETECTORS, Echo.name, Echo)
    return resolve(Profile(name="toy", detectors=(DetectorProfile(detector=Echo.name),)))


@pytest.fixture
def calibrated(echo: Profile, tmp_path: Path) -> Path:
    """A calibrated profile's file: 30 accounts of 20 queries at 10 %."""
    path = write_values(tmp_path / "before.parquet", random_values({"p": 60}))
    result = calibrate([path], echo, Plan(alpha=0.1, life=20), name="mine")
    write_profile(result.profile, tmp_path / "mine.json")
    return tmp_path / "mine.json"


def test_show_says_everything_that_decides(calibrated: Path) -> None:
    """Detectors, options, thresholds, policy, promise and hash, in words and as JSON."""
    profile = load_profile(calibrated)
    shown = run("show", calibrated)
    assert shown.exit_code == 0, shown.output
    for text in (
        f"profile mine ({profile.hash}) for model digits",
        f"{profile.detectors[0].threshold:.6g}",
        "warm=2",
        "policy: latch",
        "at most 10 % of benign accounts ever alarm in their first 20 queries",
        "calibrated on 30 benign accounts of: p;",
        f"{profile.promise.held_out_alarms} of 30 ever alarmed",
    ):
        assert text in shown.stdout
    said = json.loads(run("show", calibrated, "--format", "json").stdout)
    assert said.pop("hash") == profile.hash
    assert msgspec.convert(said, Profile) == profile


def test_show_without_a_file_is_the_default() -> None:
    """What runs where no profile is given promises nothing, and says so."""
    shown = run("show")
    assert default_profile().hash in shown.stdout
    assert "mode=hardened" in shown.stdout
    assert "any model" in shown.stdout
    assert "no false-alarm rate is promised" in shown.stdout


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        (["policy.mode=reset"], "reset: after each alarm"),
        (["policy.close_after=60"], "after 60 s without a statistic above"),
        ([], "who sends nothing for 90 days is forgotten"),
    ],
)
def test_show_explains_the_policy(tmp_path: Path, sets: list[str], words: str) -> None:
    """Each policy is said in a sentence."""
    write_profile(override(default_profile(), sets), tmp_path / "x.json")
    assert words in run("show", tmp_path / "x.json").stdout


def test_diff_lists_what_changed(tmp_path: Path) -> None:
    """Thresholds, options, detectors, policy and promise that differ, and nothing else."""
    old = default_profile()
    new = override(
        old,
        ["prada.mode=paper", "policy.mode=reset", "prada-v1.window=50"],
        ["prada", "prada-v1"],
    )
    write_profile(old, tmp_path / "a.json")
    write_profile(new, tmp_path / "b.json")
    found = {each.name: each[1:] for each in differences(old, new)}
    changed = {"prada.mode", "prada.threshold", "policy.mode"}
    added = {name for name in flat(new) if name.startswith("prada-v1.")}
    assert set(found) == changed | added
    assert found["prada.mode"] == ("hardened", "paper")
    assert found["prada.threshold"] == (0.1, 0.04)
    assert found["prada-v1.window"] == (None, 50)
    shown = run("diff", tmp_path / "a.json", tmp_path / "b.json")
    assert all(text in shown.stdout for text in (*found, old.hash, new.hash))
    said = json.loads(
        run("diff", tmp_path / "a.json", tmp_path / "b.json", "--format", "json").stdout
    )
    assert (said["before"], said["after"]) == (old.hash, new.hash)
    assert {each["name"]: (each["before"], each["after"]) for each in said["changes"]} == found


def test_diff_of_what_decides_alike(tmp_path: Path) -> None:
    """The same content is the same profile; a spelt-out default is only spelling."""
    write_profile(default_profile(), tmp_path / "a.json")
    write_profile(override(default_profile(), ["prada.mode=hardened"]), tmp_path / "b.json")
    assert "the same profile" in run("diff", tmp_path / "a.json", tmp_path / "a.json").stdout
    assert "spell the same" in run("diff", tmp_path / "a.json", tmp_path / "b.json").stdout


def test_verify_repeats_the_measurement(calibrated: Path, tmp_path: Path) -> None:
    """Fresh accounts are counted by hand; short ones are left out and named; exit code 0."""
    values = random_values({"p": 25, "q": 15}, seed=5) | random_values({"r": 1}, queries=19)
    path = write_values(tmp_path / "after.parquet", values)
    threshold = load_profile(calibrated).detectors[0].threshold
    assert threshold is not None
    alarms = {
        population: sum(
            max(row[0] for row in rows[2:]) > threshold
            for (trace, _), rows in values.items()
            if trace in population
        )
        for population in ("pq", "p", "q")
    }
    plain = run("verify", calibrated, path, "--jobs", "1")
    assert plain.exit_code == 0, plain.output
    assert f"{alarms['pq']}/40" in plain.stdout
    assert "left out: 1 accounts do not reach 20 queries: r-0" in plain.stderr
    said = json.loads(run("verify", calibrated, path, "--jobs", "1", "--format", "json").stdout)
    rows = [(row["population"], row["alarms"], row["accounts"]) for row in said["measured"]]
    assert rows == [(None, alarms["pq"], 40), ("p", alarms["p"], 25), ("q", alarms["q"], 15)]
    assert said["measured"][0]["interval"] == list(clopper_pearson(alarms["pq"], 40))
    assert said["promise"] in ("open", "kept")


def test_verify_of_more_queries_counts_the_promised_life_only(
    calibrated: Path, tmp_path: Path
) -> None:
    """An alarm after the promised life is none of the promise's business."""
    values = {("p", f"{i}"): [[0.0, 0.0]] * 20 + [[9.0, 0.0]] for i in range(60)}
    done = run("verify", calibrated, write_values(tmp_path / "b.parquet", values), "--jobs", "1")
    assert done.exit_code == 0, done.output
    assert "0/60" in done.stdout
    assert "its promise: kept" in done.stdout  # 60 silent accounts bound the rate below 6 %


def test_a_broken_promise_ends_with_1(calibrated: Path, tmp_path: Path) -> None:
    """The exit code is 1 once the interval's low end is above alpha, and not before."""
    alpha = 0.1
    few = next(hits for hits in range(40) if clopper_pearson(hits, 40).low > alpha)
    for hits, code in ((few, 1), (few - 1, 0)):
        values = {("p", f"{i}"): [[9.0 * (i < hits), 0.0]] * 20 for i in range(40)}
        path = write_values(tmp_path / "b.parquet", values)
        done = run("verify", calibrated, path, "--jobs", "1")
        assert done.exit_code == code, done.output
        assert ("its promise: broken" in done.stdout) == bool(code)


def test_verify_refuses_what_it_cannot_measure(
    calibrated: Path, echo: Profile, tmp_path: Path
) -> None:
    """No promise, another model, attacks, too short lives: each says what to do."""
    values = random_values({"p": 5})
    path = write_values(tmp_path / "c.parquet", values, {"p-2": "tramer"})
    attacks = run("verify", calibrated, path)
    assert isinstance(attacks.exception, TraceError)
    assert "p-2 (tramer)" in str(attacks.exception)
    for options in (["--exclude", "p-2"], ["--exclude-kind", "tramer"]):
        done = run("verify", calibrated, path, *options, "--jobs", "1")
        assert "/4" in done.stdout
    write_profile(echo, tmp_path / "bare.json")
    bare = run("verify", tmp_path / "bare.json", path)
    assert isinstance(bare.exception, ProfileError)
    assert "gamekeeper calibrate" in str(bare.exception)
    short = run(
        "verify",
        calibrated,
        write_values(tmp_path / "d.parquet", random_values({"p": 3}, queries=7)),
    )
    assert isinstance(short.exception, TraceError)
    assert "the longest of 3 has 7" in str(short.exception)
    other = run("verify", calibrated, write_values(tmp_path / "e.parquet", values, model="faces"))
    assert isinstance(other.exception, ProfileError)
    assert "faces" in str(other.exception)


def test_a_profile_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    """What cannot be put in place leaves what was there, and no scraps."""
    (tmp_path / "x.json").mkdir()
    with pytest.raises(ProfileError, match=r"x\.json: cannot write"):
        write_profile(default_profile(), tmp_path / "x.json")
    assert [each.name for each in tmp_path.iterdir()] == ["x.json"]


def test_a_promise_with_its_measurement_survives_the_file(tmp_path: Path) -> None:
    """Written and read, a profile is equal, to the last bit of its numbers."""
    promise = Promise(
        alpha=0.01,
        accounts=199,
        life=2000,
        populations=("may",),
        held_out_accounts=300,
        held_out_alarms=3,
        held_out_interval=(0.1 + 0.2, 2 / 3),
    )
    profile = msgspec.structs.replace(default_profile(), promise=promise)
    write_profile(profile, tmp_path / "x.json")
    again = load_profile(tmp_path / "x.json")
    assert again == profile
    assert again.hash == profile.hash


def declare(path: Path, account: str, *more: str | Path, habit: str = "explainer") -> Result:
    """Declare a habit."""
    terms = ("--owner", "Kim", "--until", "2027-03-01", "--budget", "5000")
    return run("declare", path, "--account", account, "--habit", habit, *terms, *more)


def test_every_habit_can_be_declared(tmp_path: Path) -> None:
    """The words of the command line are those of profiles, and what stood before is replaced."""
    assert set(HABITS.values()) == set(EXPLAINS)
    write_profile(default_profile(), tmp_path / "x.json")
    for word, habit in HABITS.items():
        done = declare(tmp_path / "x.json", "ada", habit=word)
        assert done.exit_code == 0, done.output
        assert "gamekeeper profile announce" in done.stderr
        [declared] = load_profile(tmp_path / "x.json").habits
        assert declared.habit == habit


def test_declared_habits_are_shown_compared_and_revoked(tmp_path: Path) -> None:
    """Whoever they are of, in whatever order; who has expired is said; names are data."""
    path = tmp_path / "x.json"
    write_profile(default_profile(), path)
    declare(path, "b\x1b[2J", "--until", "2020-01-01")
    declare(path, "a", "--inputs", "3", habit="probe")
    both = load_profile(path)
    shown = run("show", path).stdout
    assert "\x1b" not in shown
    assert [
        ("expired" in line, "holds" in line) for line in shown.splitlines() if "Kim" in line
    ] == [
        (False, True),
        (True, False),
    ]
    said = json.loads(run("show", path, "--format", "json").stdout)
    del said["hash"]
    assert msgspec.convert(said, Profile) == both
    write_profile(default_profile(), tmp_path / "old.json")
    changes = run("diff", tmp_path / "old.json", path, "--format", "json").stdout
    told = {each["name"]: each["after"] for each in json.loads(changes)["changes"]}
    assert told["habits.a.inputs"] == 3
    assert told["habits.b\x1b[2J.until"] == "2020-01-01"
    other = tmp_path / "y.json"
    declare(tmp_path / "old.json", "a", "--inputs", "3", "--out", other, habit="probe")
    declare(other, "b\x1b[2J", "--until", "2020-01-01")
    assert load_profile(other).hash == both.hash
    for account in ("a", "b\x1b[2J"):
        assert run("revoke", path, "--account", account).exit_code == 0
    assert load_profile(path) == default_profile()
    error = run("revoke", path, "--account", "a").exception
    assert isinstance(error, ProfileError)
    assert "profile show" in str(error)


def test_a_profile_takes_its_networks_along(tmp_path: Path) -> None:
    """One that ships with the package is written elsewhere; the file it is read from is refused."""
    done = declare(Path("sample"), "a", "--out", tmp_path / "new" / "x.json", "--format", "json")
    assert done.exit_code == 0, done.output
    made = load_profile(tmp_path / "new" / "x.json")
    assert json.loads(done.stdout)["profile"] == made.hash
    assert len(load_networks(made, tmp_path / "new")) == len(made.networks) == 2
    refused = declare(Path("sample"), "a")
    assert refused.exit_code == 2
    assert "--out" in refused.stderr


def test_what_cannot_be_declared_leaves_the_profile(tmp_path: Path) -> None:
    """The last word counts, and it is checked before anything is written."""
    write_profile(default_profile(), tmp_path / "x.json")
    refused = declare(tmp_path / "x.json", "a", "--until", "soon").exception
    assert isinstance(refused, ProfileError)
    assert "2027-03-01" in str(refused)
    assert load_profile(tmp_path / "x.json") == default_profile()


def test_calibrating_a_profile_again_keeps_what_it_declares(echo: Profile, tmp_path: Path) -> None:
    """The accounts are the same, whatever the thresholds."""
    write_profile(echo, tmp_path / "x.json")
    declare(tmp_path / "x.json", "ada")
    begun = start(tmp_path / "y.json", profile=tmp_path / "x.json")
    path = write_values(tmp_path / "before.parquet", random_values({"p": 60}))
    result = calibrate([path], begun.profile, Plan(alpha=0.1, life=20), name="mine")
    assert result.profile.declared.keys() == {"ada"}
    assert result.profile.promise.alpha == 0.1
