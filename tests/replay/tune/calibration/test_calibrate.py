"""Calibration: maxima, the rule by hand, what is refused, and the command."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from click.testing import CliRunner, Result
from hypothesis import strategies as st

from gamekeeper.detectors import catalog
from gamekeeper.detectors.base import Batch, Floats
from gamekeeper.detectors.engine import DetectorProfile, Profile, default_profile, override, resolve
from gamekeeper.replay.cli.calibrate import calibrate as command
from gamekeeper.replay.cli.evaluate import evaluate as evaluate_command
from gamekeeper.replay.traces import open_trace
from gamekeeper.replay.tune.calibration import Plan, calibrate, promised, verify
from gamekeeper.replay.tune.calibration.maxima import measure
from gamekeeper.replay.tune.evaluation import evaluate
from gamekeeper.schemas.errors import ProfileError, TraceError
from gamekeeper.stream.profile_files import load_profile
from support.toys import Echo, Echo2, random_values, write_values
from support.traces import events, write_trace

ALPHAS = st.integers(1, 99).map(lambda percent: percent / 100)


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> Profile:
    """A profile of two detectors that repeat what is sent."""
    for kind in (Echo, Echo2):
        monkeypatch.setitem(catalog.DETECTORS, kind.name, kind)
    names = (Echo.name, Echo2.name)
    return resolve(
        Profile(name="toys", detectors=tuple(DetectorProfile(detector=name) for name in names))
    )


@pytest.fixture
def echo(toys: Profile) -> Profile:
    """The first of them alone."""
    return override(toys, [], [Echo.name])


# Maxima


@pytest.mark.parametrize("queries", [1, 2, 3, 11, 20])
@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_maxima_are_those_of_the_first_queries(
    toys: Profile, tmp_path: Path, queries: int, batch: int
) -> None:
    """In any batches, the maximum is that of the ready statistics, or minus infinity."""
    values = random_values({"p": 4})
    with open_trace([write_values(tmp_path / "a.parquet", values)]) as store:
        found = measure(store, store.lives, toys, queries, batch=batch)
    for each in found:
        rows = values[each.life.trace, each.life.account][2:queries]
        for place, name in enumerate((Echo.name, Echo2.name)):
            assert each.maxima[name] == max((row[place] for row in rows), default=-math.inf)


def test_a_reset_policy_does_not_hide_the_maximum(echo: Profile, tmp_path: Path) -> None:
    """Alarms at the profile's own thresholds do not reset what is measured."""
    values = {("p", "a"): [[0.0, 0.0]] * 3 + [[0.9, 0.0]] + [[0.95, 0.0]]}
    reset = override(echo, ["policy.mode=reset", "echo.threshold=0.1"])
    with open_trace([write_values(tmp_path / "a.parquet", values)]) as store:
        assert measure(store, store.lives, reset, 5)[0].maxima == {"echo": 0.95}


def test_maxima_do_not_depend_on_jobs(tmp_path: Path) -> None:
    """Two processes find what one finds, in the same order."""
    path = write_trace(tmp_path / "a.parquet", events(accounts=3, each=90), trace="t")
    with open_trace([path]) as store:
        one = measure(store, store.lives, default_profile(), 150, jobs=1)
        two = measure(store, store.lives, default_profile(), 150, jobs=2)
    assert one == two
    assert all(0 < each.maxima["prada"] < 1 for each in one)


# Calibration


def test_calibration_equals_the_rule_by_hand(toys: Profile, tmp_path: Path) -> None:
    """Thresholds, promise and measurement are those of sorted maxima and counted alarms."""
    values = random_values({"p": 50, "q": 21})
    path = write_values(tmp_path / "a.parquet", values)
    result = calibrate([path], toys, Plan(alpha=0.1, life=20), name="mine")
    rows = {key: np.array(rows[2:]).max(axis=0) for key, rows in values.items()}
    inside = [(each.life.trace, each.life.account) for each in result.calibration]
    outside = [(each.life.trace, each.life.account) for each in result.held_out]
    assert set(inside) | set(outside) == set(values)
    assert (len(inside), len(outside)) == (36, 35)
    # floor(0.1 * 37) accounts may alarm: one by the second detector, two by the first
    assert list(result.ranks.values()) == [35, 36]
    thresholds = [each.threshold for each in result.profile.detectors]
    assert thresholds == [
        sorted(rows[key][place] for key in inside)[rank - 1] for place, rank in ((0, 35), (1, 36))
    ]
    alarms = [
        [row > limit for row, limit in zip(rows[key], thresholds, strict=True)] for key in outside
    ]
    counted = [row.alarms for row in result.measured if row.population is None]
    assert counted == [sum(x[0] for x in alarms), sum(x[1] for x in alarms), sum(map(any, alarms))]
    promise = result.profile.promise
    assert (promise.alpha, promise.accounts, promise.life) == (0.1, 36, 20)
    assert promise.populations == ("p", "q")
    assert (promise.held_out_accounts, promise.held_out_alarms) == (35, counted[2])
    assert promise.held_out_interval == tuple(result.measured[2].interval)
    assert (result.profile.name, result.profile.model) == ("mine", "digits")


def test_no_threshold_is_below_the_least_of_its_detector(
    echo: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However little the accounts did; where they did more, theirs is the threshold."""
    path = write_values(tmp_path / "a.parquet", random_values({"p": 20}))
    [found] = calibrate([path], echo, Plan(alpha=0.2, life=20), name="x").profile.detectors
    assert found.threshold is not None
    for least in (found.threshold - 0.1, found.threshold + 0.1):
        monkeypatch.setattr(Echo, "least", least)
        [again] = calibrate([path], echo, Plan(alpha=0.2, life=20), name="x").profile.detectors
        assert again.threshold == max(found.threshold, least)


def test_evaluation_alarms_where_calibration_says(toys: Profile, tmp_path: Path) -> None:
    """The profile's alarms in an evaluation are exactly the held-out ones that were counted."""
    path = write_values(tmp_path / "a.parquet", random_values({"p": 60}))
    result = calibrate([path], toys, Plan(alpha=0.3, life=20), name="mine")
    lives = evaluate([path], tmp_path / "o", result.profile)
    caught = {each.life for each in lives if each.tallies[-1].detection is not None}
    assert len(caught & {each.life for each in result.held_out}) == result.measured[2].alarms > 0
    # Of the calibration's own accounts, those above the rank are the ones that alarm.
    for place in (0, 1):
        above = [each for each in lives if each.tallies[place].detection is not None]
        mine = {each.life for each in above} & {each.life for each in result.calibration}
        [*ranks] = result.ranks.values()
        assert len(mine) == len(result.calibration) - ranks[place]


def test_never_ready_accounts_are_silent_ones(echo: Profile, tmp_path: Path) -> None:
    """They count as the smallest maxima; where they would be the threshold, that is an error."""
    path = write_values(tmp_path / "a.parquet", random_values({"p": 9}, queries=10))
    never = override(echo, ["echo.warm=10"])
    with pytest.raises(ProfileError, match="never ready in 10 queries for 9 of 9"):
        calibrate([path], never, Plan(alpha=0.1, life=10, held_out=0), name="x")


def test_nothing_held_out_measures_nothing(echo: Profile, tmp_path: Path) -> None:
    """Then all accounts carry the promise, which says that it was not measured."""
    path = write_values(tmp_path / "a.parquet", random_values({"p": 9}))
    result = calibrate([path], echo, Plan(alpha=0.1, life=20, held_out=0), name="x")
    assert result.measured == []
    assert result.profile.promise.held_out_interval is None
    assert result.profile.promise.accounts == 9


# Beyond the promised life


@pytest.mark.parametrize("beyond", [0, 1, 5, 13, 100])
@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_what_comes_later_is_told_by_where_it_grows(
    toys: Profile, tmp_path: Path, beyond: int, batch: int
) -> None:
    """The first query above any threshold is that of the ready statistics, in any batches."""
    life = 7
    values = random_values({"p": 5})
    with open_trace([write_values(tmp_path / "a.parquet", values)]) as store:
        found = measure(store, store.lives, toys, life, beyond=beyond, batch=batch)
    for each in found:
        rows = values[each.life.trace, each.life.account][life : life + beyond]
        assert (each.later.queries if each.later else 0) == len(rows)
        for place, name in enumerate((Echo.name, Echo2.name)):
            for limit in (-1.0, 0.2, 0.5, 0.8, 0.95):
                above = [at for at, row in enumerate(rows) if row[place] > limit]
                first = each.later.first_above(name, limit) if each.later else None
                assert first == (above[0] if above else None)


def test_first_alarms_beyond_the_life_are_a_rate(toys: Profile, tmp_path: Path) -> None:
    """Of accounts held out that have not alarmed in it, up to where they first do."""
    values = random_values({"p": 80})
    path = write_values(tmp_path / "a.parquet", values)
    result = calibrate([path], toys, Plan(alpha=0.3, life=12), name="mine")
    limits = [each.threshold for each in result.profile.detectors]
    queries = alarms = accounts = 0
    for each in result.held_out:
        rows = np.array(values[each.life.trace, each.life.account])
        above = (rows > limits).any(axis=1)
        above[:2] = False  # not ready
        if above[:12].any():
            continue
        later = np.flatnonzero(above[12:])
        accounts += 1
        queries += int(later[0]) + 1 if len(later) else len(rows) - 12
        alarms += bool(len(later))
    row = result.later[-1]
    assert (row.detector, row.accounts, row.queries, row.alarms) == (
        "any",
        accounts,
        queries,
        alarms,
    )
    assert alarms > 0
    test = scipy.stats.poisson
    low, high = (end * queries / 1e6 for end in row.interval)
    assert test.sf(alarms - 1, low) == pytest.approx(0.025)
    assert test.cdf(alarms, high) == pytest.approx(0.025)
    promise = result.profile.promise
    assert (promise.beyond_queries, promise.beyond_alarms) == (queries, alarms)
    assert promise.beyond_interval == tuple(row.interval)
    again = verify([path], result.profile)
    assert again.later[-1].accounts > accounts  # those that calibrated among them
    assert verify([path], result.profile, further=0).later == []


def test_lives_that_end_where_the_promise_does_say_nothing_more(
    echo: Profile, tmp_path: Path
) -> None:
    """Then the profile has no rate, and the verdicts' promise is what it was before there was."""
    path = write_values(tmp_path / "a.parquet", random_values({"p": 20}))
    result = calibrate([path], echo, Plan(alpha=0.2, life=20), name="x")
    assert result.later == []
    assert "nothing is known of longer lives" in promised(result.profile.promise)[-1]
    assert not [name for name in result.profile.promise.content if name.startswith("beyond")]


# Refusals


def refused(path: Path, profile: Profile, plan: Plan) -> str:
    """Say why the calibration is refused."""
    with pytest.raises(TraceError) as caught:
        calibrate([path], profile, plan, name="x")
    return str(caught.value)


def test_too_small_an_alpha_is_refused_with_the_numbers(toys: Profile, tmp_path: Path) -> None:
    """The accounts that would do and the smallest alpha of those there are; that one works."""
    path = write_values(tmp_path / "a.parquet", random_values({"p": 20}))
    message = refused(path, toys, Plan(alpha=0.01, life=20))
    assert "leaves 10 for calibration; alpha 0.01 over 2 detectors takes 199, so 397" in message
    assert "10 calibration accounts carry no alpha below 0.1819" in message
    calibrate([path], toys, Plan(alpha=0.1819, life=20), name="x")
    assert "0.1819" in refused(path, toys, Plan(alpha=0.1818, life=20))


def test_too_long_a_life_is_refused_with_one_that_works(echo: Profile, tmp_path: Path) -> None:
    """The longest life that enough accounts reach is named; those too short are told."""
    values = random_values({"p": 6}, queries=20) | random_values({"q": 6}, queries=14)
    path = write_values(tmp_path / "a.parquet", values)
    message = refused(path, echo, Plan(alpha=0.2, life=10_000))
    assert "0 of 12 accounts reach 10000 queries" in message
    assert "takes 4, so 7 in all" in message
    assert "The longest life that 7 accounts reach is 14: use --life 14" in message
    assert calibrate([path], echo, Plan(alpha=0.2, life=14), name="x").short == []
    short = calibrate([path], echo, Plan(alpha=0.3, life=15), name="x").short
    assert {each.trace for each in short} == {"q"}
    assert len(short) == 6
    # Where no life would do, the one that the longer half reaches is named with its alpha.
    message = refused(path, echo, Plan(alpha=0.01, life=10_000))
    assert (
        "with --life 20, which 6 reach, 3 calibration accounts carry no alpha below 0.25" in message
    )


def test_attacks_are_refused_by_name_unless_excluded(echo: Profile, tmp_path: Path) -> None:
    """An attack's account in the trace is an error; excluding its kind or itself leaves it out."""
    values = random_values({"p": 10})
    kinds = {"p-3": "papernot", "p-4": "tramer"}
    path = write_values(tmp_path / "a.parquet", values, kinds)
    message = refused(path, echo, Plan(alpha=0.2, life=20))
    assert "p-3 (papernot), p-4 (tramer)" in message
    assert "--exclude-kind papernot --exclude-kind tramer" in message
    both = Plan(alpha=0.2, life=20, exclude=("p-3",), exclude_kinds=("tramer",))
    result = calibrate([path], echo, both, name="x")
    assert len(result.calibration) + len(result.held_out) == 8
    assert "--exclude p-99" in refused(path, echo, Plan(exclude=("p-99",)))
    assert "--exclude-kind pate" in refused(path, echo, Plan(exclude_kinds=("pate",)))
    everyone = tuple(account for _, account in values)
    assert "nothing is left" in refused(path, echo, Plan(exclude=everyone))


def test_traces_of_several_models_need_a_choice(echo: Profile, tmp_path: Path) -> None:
    """A profile is one model's: its own, the chosen one, or the traces' only one."""
    paths = [
        write_values(tmp_path / f"{model}.parquet", random_values({"p": 10}), model=model)
        for model in ("digits", "faces")
    ]
    with pytest.raises(ProfileError, match="--model: digits, faces"):
        calibrate(paths, echo, Plan(alpha=0.2, life=20), name="x")
    chosen = Plan(alpha=0.2, life=20, model="faces")
    profile = calibrate(paths, echo, chosen, name="x").profile
    assert profile.model == "faces"
    assert calibrate(paths, profile, Plan(alpha=0.2, life=20), name="x").profile == (
        calibrate(paths, echo, chosen, name="x").profile
    )
    with pytest.raises(ProfileError, match="not of words"):
        calibrate(paths, echo, Plan(model="words"), name="x")


# The command


def run(*arguments: str | Path) -> Result:
    """Run `gamekeeper calibrate` in this process, on one core."""
    return CliRunner().invoke(command, [*map(str, arguments), "--jobs", "1"])


def test_command_writes_a_profile_that_evaluate_takes(toys: Profile, tmp_path: Path) -> None:
    """The file is the canonical JSON of the printed hash, and `evaluate` states its promise."""
    path = write_values(tmp_path / "a.parquet", random_values({"p": 40}))
    out = tmp_path / "mine.json"
    common = [path, "--out", out, "--detector", "echo", "--alpha", "0.1", "--life", "20"]
    plain = run(*common)
    assert plain.exit_code == 0, plain.output
    profile = load_profile(out)
    assert profile.name == "mine"
    assert hashlib.sha256(out.read_bytes()).hexdigest()[:16] == profile.hash
    assert profile.hash in plain.stdout
    assert "at most 10 % of benign accounts ever alarm in their first 20 queries" in plain.stdout
    assert [each.name for each in tmp_path.iterdir() if each.suffix == ".tmp"] == []
    said = json.loads(run(*common, "--format", "json").stdout)
    assert said["profile"]["hash"] == profile.hash  # the same traces, the same profile
    assert said["measured"][0]["accounts"] == 20
    assert Counter(each["side"] for each in said["accounts"]) == {"calibration": 20, "held out": 20}
    arguments = [path, "--out", tmp_path / "o", "--profile", out, "--jobs", "1"]
    done = CliRunner().invoke(evaluate_command, [*map(str, arguments)])
    assert done.exit_code == 0, done.output
    assert "its promise: at most 10 % of benign accounts ever alarm in 20 queries" in done.stdout


def test_command_says_which_threshold_is_the_least_there_is(
    toys: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its detector takes one account of the promise; the other is allowed what is left."""
    path = write_values(tmp_path / "a.parquet", random_values({"p": 60}))
    common = [path, "--out", tmp_path / "x.json", "--detector", "echo", "--detector", "echo-2"]
    monkeypatch.setattr(Echo2, "least", 5.0)
    done = run(*common, "--alpha", "0.1", "--life", "20")
    assert done.exit_code == 0, done.output
    assert "maximum 29 of 30, from the least" in done.stdout
    assert "5  its least, above maximum 30 of 30" in done.stdout
    said = json.loads(run(*common, "--alpha", "0.1", "--life", "20", "--format", "json").stdout)
    assert said["ranks"] == {"echo": 29, "echo-2": 30}
    assert [round(31 * each["alpha"]) for each in said["measured"][:2]] == [2, 1]


def test_command_warns_and_drops_nothing_silently(toys: Profile, tmp_path: Path) -> None:
    """Short, repeated and suspicious accounts are named on stderr; nobody held out is said."""
    values = random_values({"p": 30}) | random_values({"q": 2}, queries=5)
    values["p", "thief"] = [[900.0, 0.0]] * 20
    values["r", "p-1"] = values["p", "p-1"]
    path = write_values(tmp_path / "a.parquet", values)
    common = [path, "--out", tmp_path / "x.json", "--detector", "echo", "--life", "20"]
    loud = run(*common, "--alpha", "0.05", "--held-out", "0")
    assert loud.exit_code == 0, loud.output
    assert "left out: 2 accounts do not reach 20 queries" in loud.stderr
    assert "q-0, q-1" in loud.stderr
    assert "each counts as an account of its own: p-1;" in loud.stderr
    assert "looks contaminated: account thief of p: its largest echo is 900" in loud.stderr
    assert "--exclude thief" in loud.stderr
    assert "heuristic" in loud.stderr
    assert "not measured" in loud.stderr
    quiet = run(*common, "--alpha", "0.1", "--exclude", "thief")
    assert "contaminated" not in quiet.stderr
    assert "unlike" not in quiet.stderr
    assert "not measured" not in quiet.output


def test_command_refuses_thresholds_and_unusable_outs(toys: Profile, tmp_path: Path) -> None:
    """Thresholds are what calibration chooses; a file that cannot be written is named."""
    path = write_values(tmp_path / "a.parquet", random_values({"p": 10}))
    common = [path, "--detector", "echo", "--life", "20", "--alpha", "0.2"]
    chosen = run(*common, "--out", tmp_path / "x.json", "--set", "echo.threshold=0.3")
    assert isinstance(chosen.exception, ProfileError)
    assert "calibration chooses the thresholds" in str(chosen.exception)
    lost = run(*common, "--out", tmp_path / "missing" / "x.json")
    assert isinstance(lost.exception, ProfileError)
    assert "cannot write the profile" in str(lost.exception)
    for share in ("0", "1", "1.5"):
        assert run(path, "--out", tmp_path / "x.json", "--alpha", share).exit_code == 2


def test_command_says_which_population_is_unlike_the_others(toys: Profile, tmp_path: Path) -> None:
    """By name and detector, in words and in JSON; nothing is refused or left out."""
    values = random_values({"p": 30})
    values |= {
        ("other", f"other-{number}"): [[value + 9.0, other] for value, other in own]
        for number, own in enumerate(random_values({"q": 12}).values())
    }
    path = write_values(tmp_path / "a.parquet", values)
    options = ["--alpha", "0.3", "--life", "20", "--detector", "echo", "--format", "json"]
    result = run(path, "--out", tmp_path / "x.json", *options)
    assert result.exit_code == 0, result.output
    assert "population other is unlike the others: the median of its echo is" in result.stderr
    assert "Kolmogorov-Smirnov" in result.stderr
    found = json.loads(result.stdout)
    assert {each["population"] for each in found["unlike"]} == {"p", "other"}
    assert found["profile"]["promise"]["populations"] == ["other", "p"]


def test_command_says_that_a_population_was_never_judged(
    toys: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Minus infinity, its median then, is no word for whoever reads it."""
    ready = Echo.update

    def update(self: Echo, batch: Batch) -> Floats:
        found = ready(self, batch)
        return np.where(found > 9, np.nan, found)

    monkeypatch.setattr(Echo, "update", update)
    values = random_values({"p": 30})
    values |= {("other", f"other-{number}"): [[10.0, 0.0]] * 20 for number in range(12)}
    path = write_values(tmp_path / "a.parquet", values)
    options = ["--alpha", "0.3", "--life", "20", "--detector", "echo"]
    result = run(path, "--out", tmp_path / "x.json", *options)
    assert result.exit_code == 0, result.output
    assert "population other is unlike the others: the median of its echo is none" in result.stderr
    assert "theirs none (never ready)" in result.stderr  # what the others are held against
    assert "inf" not in result.stderr


def test_many_who_look_contaminated_are_not_all_named(toys: Profile, tmp_path: Path) -> None:
    """Ten are, and how many more; JSON has all of them."""
    values = random_values({"p": 60})
    for number in range(12):
        values["p", f"p-{number}"][5] = [900.0 + number, 0.5]
    path = write_values(tmp_path / "a.parquet", values)
    common = [path, "--out", tmp_path / "x.json", "--detector", "echo", "--alpha", "0.5"]
    told = run(*common, "--life", "20").stderr
    assert told.count("looks contaminated: account") == 10
    assert "2 more look contaminated, less so (--format json has all)" in told
    listed = json.loads(run(*common, "--life", "20", "--format", "json").stdout)["suspects"]
    assert len(listed) == 12
