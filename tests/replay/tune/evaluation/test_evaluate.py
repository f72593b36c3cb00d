"""Offline evaluation against walks over the queries, and against the engine as it runs live."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, ClassVar

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from gamekeeper.detectors import catalog
from gamekeeper.detectors.base import Batch, Floats
from gamekeeper.detectors.engine import (
    Arrival,
    DetectorProfile,
    Engine,
    Policy,
    Profile,
    Source,
    default_profile,
    override,
    resolve,
)
from gamekeeper.replay.cli.evaluate import evaluate as command
from gamekeeper.replay.traces import Life, open_trace, read_trace
from gamekeeper.replay.tune.evaluation import evaluate, shard
from gamekeeper.replay.tune.evaluation.report import tabulate
from gamekeeper.schemas.errors import ProfileError, TraceError
from gamekeeper.schemas.event import QueryEvent
from gamekeeper.schemas.tables import QUERIES, SCORES, VERDICTS, many_query_rows, write_parquet
from gamekeeper.schemas.tensor import Tensor
from support.toys import Toy
from support.traces import START

WARM = 3  # queries that the toy detectors take before they are ready


class Labels(Toy):
    """A toy: the sum of the labels since the start, for profiles whose alarms can be counted."""

    name: ClassVar[str] = "labels"
    threshold = 20.0

    def __init__(self, *, modulus: int = 10) -> None:
        """Count labels modulo a number."""
        self.modulus = modulus
        self.reset()

    def update(self, batch: Batch) -> Floats:
        """Add up."""
        statistics = []
        for label in batch.labels.tolist():
            self.seen += 1
            self.sum += label % self.modulus
            statistics.append(float(self.sum) if self.seen > WARM else math.nan)
        return np.array(statistics)

    def reset(self) -> None:
        """Begin anew."""
        self.seen = self.sum = 0


class Odds(Labels):
    """A second toy, of the parity of the labels."""

    name: ClassVar[str] = "odds"
    threshold = 30.0

    def __init__(self, *, modulus: int = 2) -> None:
        """Count odd labels."""
        super().__init__(modulus=modulus)


TOYS = {"labels": (10, 20.0), "odds": (2, 30.0)}


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> Profile:
    """A profile of the two toys."""
    monkeypatch.setitem(catalog.DETECTORS, "labels", Labels)
    monkeypatch.setitem(catalog.DETECTORS, "odds", Odds)
    return resolve(
        Profile(name="toys", detectors=tuple(DetectorProfile(detector=name) for name in TOYS))
    )


LIVES = {
    ("benign", "anna"): [0] * 130,
    ("benign", "bert"): [0] * 60 + [7] * 5 + [0] * 20,
    ("papernot", "carl"): [9, 8, 7] * 30,
    ("papernot", "dora"): [1] * 10,
    ("tramer", "emil"): [0, 3] * 70,
    (None, "fred"): [2] * 40,
}


def write_lives(path: Path, lives: dict[Any, list[int]] = LIVES) -> Path:
    """Write a trace of given labels, in events of 1 to 4 rows."""
    batches = []
    for kind, account in lives:
        labels, first = lives[kind, account], 0
        while first < len(labels):
            rows = labels[first : first + 1 + first % 4]
            event = QueryEvent(
                id=f"{account}-{first}",
                account=account,
                model="digits",
                time=START + first * 1000,
                inputs=Tensor.from_array(np.full((len(rows), 2), first, np.float32)),
                labels=rows,
            )
            batches.append(many_query_rows([event], [first], trace="t", kind=kind))
            first += len(rows)
    write_parquet(pa.Table.from_batches(batches, schema=QUERIES), path)
    return path


def walk(labels: list[int], names: Sequence[str], retire: bool) -> list[int]:
    """Find the alarm queries of one life; an alarm begins it anew if it retires the account."""
    alarms, begin = [], 0
    for query in range(len(labels)):
        for name in names:
            modulus, threshold = TOYS[name]
            total = sum(label % modulus for label in labels[begin : query + 1])
            if query - begin >= WARM and total > threshold:
                alarms.append(query)
                if retire:
                    begin = query + 1
                break
    return alarms


@pytest.mark.parametrize("batch", [1, 7, 10_000])
def test_tallies_equal_a_walk(toys: Profile, tmp_path: Path, batch: int) -> None:
    """First alarm, alarmed chunks and retired accounts are those of a plain walk, per detector."""
    results = evaluate([write_lives(tmp_path / "a.parquet")], tmp_path / "o", toys, batch=batch)
    assert {(life.kind, life.account) for life, _ in results} == set(LIVES)
    for life, tallies in results:
        labels = LIVES[life.kind, life.account]
        assert [tally.detector for tally in tallies] == ["labels", "odds", "any"]
        for tally, names in zip(tallies, (["labels"], ["odds"], list(TOYS)), strict=True):
            alarms = walk(labels, names, retire=False)
            assert tally.detection == (alarms[0] + 1 if alarms else None)
            assert tally.chunks == len({query // 50 for query in alarms})
            assert tally.alarms == len(walk(labels, names, retire=True))


def test_accounts_used_equal_the_reset_policy(toys: Profile, tmp_path: Path) -> None:
    """For one detector, retired accounts are as many as its alarms under the `reset` policy."""
    path = write_lives(tmp_path / "a.parquet")
    latch = evaluate([path], tmp_path / "latch", toys)
    reset = msgspec.structs.replace(toys, policy=Policy(mode="reset"))
    again = evaluate([path], tmp_path / "reset", reset)
    verdicts = pq.read_table(tmp_path / "reset" / "verdicts").to_pylist()
    for (life, tallies), (_, other) in zip(latch, again, strict=True):
        for tally in tallies[:2]:
            own = [
                each
                for each in verdicts
                if (each["account"], each["detector"]) == (life.account, tally.detector)
            ]
            assert tally.alarms == len(own)
        assert [each.alarms for each in other] == [each.alarms for each in tallies]


def test_table_sums_up_the_lives(toys: Profile, tmp_path: Path) -> None:
    """Each row of the table is what the walks of its kind add up to."""
    rows = tabulate(evaluate([write_lives(tmp_path / "a.parquet")], tmp_path / "o", toys))
    assert [(row.detector, row.kind) for row in rows] == [
        (detector, kind)
        for detector in ("labels", "odds", "any")
        for kind in ("benign", "papernot", "tramer", None)
    ]
    for row in rows:
        names = list(TOYS) if row.detector == "any" else [row.detector]
        own = [labels for (kind, _), labels in LIVES.items() if kind == row.kind]
        alarms = [walk(labels, names, retire=False) for labels in own]
        used = [len(walk(labels, names, retire=True)) for labels in own]
        assert (row.accounts, row.queries) == (len(own), sum(map(len, own)))
        assert row.alarmed == sum(map(bool, alarms))
        assert row.interval[0] <= row.alarmed / row.accounts <= row.interval[1]
        assert row.alarms_per_query == sum(used) / row.queries
        assert row.chunks == sum(math.ceil(len(labels) / 50) for labels in own)
        if row.role == "benign":
            hit = sum(len({query // 50 for query in each}) for each in alarms)
            assert row.chunk_fpr == hit / row.chunks
        if row.role == "attack":
            seen = [each[0] + 1 if each else math.inf for each in alarms]
            middle = median(seen)
            assert row.detection_median == (middle if math.isfinite(middle) else None)
            assert row.detection_worst == (max(seen) if math.isfinite(max(seen)) else None)
            assert row.accounts_used == median(used)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A part of the shipped trace: four lives' first queries, two benign and two attacks."""
    path = tmp_path_factory.mktemp("digits") / "digits.parquet"
    with open_trace(["sample"]) as store:
        chosen = [life for life in store.lives if life.kind == "benign"][:2]
        chosen += [life for life in store.lives if life.kind in {"papernot", "tramer"}]
        accounts = {life.account for life in chosen}
        rows = [
            many_query_rows([each.event], [each.first], trace=each.trace, kind=each.kind)
            for each in store.events()
            if each.event.account in accounts and each.first + len(each.event) <= 300
        ]
    write_parquet(pa.Table.from_batches(rows, schema=QUERIES), path)
    return path


def test_scores_and_verdicts_are_the_live_engine_s(digits: Path, tmp_path: Path) -> None:
    """All accounts mixed in one engine, as in the service, give the same tables bit for bit."""
    profile = override(default_profile(), ["prada.threshold=0.03"])
    evaluate([digits], tmp_path, profile)
    engine = Engine(profile)
    arrivals = [
        Arrival(each.event, Source("queries", 0, number))
        for number, each in enumerate(read_trace([digits]))
    ]
    live: dict[tuple[str, int], float] = {}
    verdicts = set()
    for begin in range(0, len(arrivals), 300):
        for outcome in engine.process(arrivals[begin : begin + 300]):
            account = outcome.arrival.event.account
            for row, value in enumerate(outcome.statistics["prada"].tolist()):
                live[account, outcome.first + row] = value
            verdicts.update((each.id, each.finding, each.query) for each in outcome.verdicts)
    scores = pq.read_table(tmp_path / "scores", schema=SCORES)
    offline = {
        (account, query): math.nan if statistic is None else statistic
        for account, query, statistic in zip(
            *(scores[name].to_pylist() for name in ("account", "query", "statistic")), strict=True
        )
    }
    assert offline.keys() == live.keys()
    for key, value in live.items():
        assert offline[key] == value or (math.isnan(value) and math.isnan(offline[key]))
    table = pq.read_table(tmp_path / "verdicts", schema=VERDICTS)
    assert verdicts
    assert verdicts == set(
        zip(*(table[name].to_pylist() for name in ("id", "finding", "query")), strict=True)
    )


def files(folder: Path) -> dict[str, bytes]:
    """Read all of an evaluation's files."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.parquet")}


def test_results_do_not_depend_on_jobs_or_batch(digits: Path, tmp_path: Path) -> None:
    """One process or two, large batches or small: the same bytes in the same files."""
    one = evaluate([digits], tmp_path / "1", default_profile(), jobs=1)
    two = evaluate([digits], tmp_path / "2", default_profile(), jobs=2, batch=50)
    assert one == two
    assert files(tmp_path / "1") == files(tmp_path / "2")
    assert len(files(tmp_path / "1")) > 2


def test_shards_depend_on_the_lives_alone() -> None:
    """Numbered by the lives' order, they hold every life once; the largest are done first."""
    random = np.random.default_rng(0)
    lives = [
        Life("t", str(i), "m", None, 0, int(n)) for i, n in enumerate(random.integers(1, 99, 500))
    ]
    shards = shard(lives)
    assert [life for each in sorted(shards) for life in each.lives] == lives
    assert [each.number for each in sorted(shards)] == list(range(len(shards)))
    target = math.ceil(sum(life.queries for life in lives) / 32)
    sizes = [each.queries for each in shards]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] <= target
    assert 32 <= len(shards) <= 40


def test_out_keeps_no_part_of_an_earlier_evaluation(toys: Profile, tmp_path: Path) -> None:
    """Evaluating again replaces all parts, also where there are fewer lives now."""
    out = tmp_path / "o"
    evaluate([write_lives(tmp_path / "a.parquet")], out, toys)
    few = {key: LIVES[key] for key in list(LIVES)[:1]}
    evaluate([write_lives(tmp_path / "b.parquet", few)], out, toys)
    assert set(pq.read_table(out / "scores")["account"].to_pylist()) == {"anna"}
    assert len(pq.read_table(out / "verdicts", schema=VERDICTS)) == 0


def test_out_with_other_tables_is_refused(toys: Profile, tmp_path: Path) -> None:
    """The service's own tables are neither mixed with results nor removed."""
    foreign = tmp_path / "verdicts" / "date=2026-05-01" / "verdicts-0-17.parquet"
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"precious")
    with pytest.raises(TraceError, match="choose another --out"):
        evaluate([write_lives(tmp_path / "a.parquet")], tmp_path, toys)
    assert foreign.read_bytes() == b"precious"


def test_profile_for_another_model(toys: Profile, tmp_path: Path) -> None:
    """A profile that watches none of the traces' models is an error that names both."""
    other = msgspec.structs.replace(toys, model="faces")
    with pytest.raises(ProfileError, match=r"'faces'.*digits"):
        evaluate([write_lives(tmp_path / "a.parquet")], tmp_path / "o", other)


@pytest.mark.parametrize("jobs", [1, 2])
def test_faulty_rows_are_named_from_any_process(tmp_path: Path, jobs: int) -> None:
    """A tensor that does not fit its shape ends the evaluation with the file and the row."""
    path = write_lives(tmp_path / "a.parquet")
    table = pq.read_table(path)
    tensors = table["tensor"].to_pylist()
    tensors[150] = b"short"
    place = table.column_names.index("tensor")
    pq.write_table(table.set_column(place, "tensor", pa.array(tensors)), path)
    with pytest.raises(TraceError, match=r"a\.parquet: row 1(49|50)"):
        evaluate([path], tmp_path / "o", default_profile(), jobs=jobs)


def test_command_prints_the_table_or_json(digits: Path, tmp_path: Path) -> None:
    """The command says per detector and kind what happened; JSON says the same."""
    common = [str(digits), "--out", str(tmp_path / "o"), "--jobs", "1"]
    plain = CliRunner().invoke(command, [*common, "--set", "prada.mode=paper"])
    assert plain.exit_code == 0, plain.output
    assert "95 % interval" in plain.stdout
    document = CliRunner().invoke(
        command, [*common, "--set", "prada.mode=paper", "--format", "json"]
    )
    assert document.exit_code == 0, document.output
    said = json.loads(document.stdout)
    assert said["profile"]["detectors"][0]["options"] == {"mode": "paper"}
    assert len(said["profile"]["hash"]) == 16
    for row in said["results"]:
        assert row["kind"] in plain.stdout
        assert f"{row['alarmed']}/{row['accounts']}" in plain.stdout


def test_a_detector_without_a_threshold_scores_and_never_alarms(
    digits: Path, tmp_path: Path
) -> None:
    """Its statistics are written, and the command says that nothing can alarm, and what would."""
    arguments = [str(digits), "--out", str(tmp_path), "--detector", "rate", "--jobs", "1"]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, result.output
    assert "rate: no alarm: no threshold" in result.output
    assert "gamekeeper calibrate" in result.output
    scores = pq.read_table(tmp_path / "scores", schema=SCORES)
    assert scores.num_rows > scores["statistic"].null_count > 0
    assert pq.read_table(tmp_path / "verdicts").num_rows == 0


def test_command_without_a_trace_names_the_sample(tmp_path: Path) -> None:
    """Without a trace the command says how to use the one that ships."""
    result = CliRunner().invoke(command, ["--out", str(tmp_path)])
    assert result.exit_code == 2
    assert "`sample`" in result.stderr


def test_command_as_it_is_installed(tmp_path: Path) -> None:
    """`gamekeeper evaluate` runs in processes of its own, and says faults in one line."""
    gamekeeper = Path(sys.executable).with_name("gamekeeper")
    out = tmp_path / "o"
    good = subprocess.run(
        [gamekeeper, "evaluate", "sample", "--out", out, "--jobs", "2", "--format", "json"],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert good.returncode == 0, good.stderr
    assert {row["role"] for row in json.loads(good.stdout)["results"]} == {"benign", "attack"}
    bad = subprocess.run(
        [gamekeeper, "evaluate", tmp_path / "missing", "--out", out],
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert bad.returncode == 1
    assert bad.stdout == ""
    assert bad.stderr.startswith("Error: ")
    assert "no such trace" in bad.stderr
