"""Is the trace that ships in the package what its README says?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from sklearn.datasets import load_digits

import gamekeeper.replay
from gamekeeper.replay.theft.model import Architecture, Classifier
from gamekeeper.replay.theft.recording.start import draw_balanced
from gamekeeper.replay.tune.calibration import open_profile
from gamekeeper.replay.tune.evaluation import ANY, evaluate
from gamekeeper.schemas.errors import TraceError
from gamekeeper.schemas.event import decode_event, encode_event
from gamekeeper.schemas.tables import QUERIES, events_from_rows
from sample.make_sample import THIEVES, read_digits, steal, tabulate

FOLDER = Path(gamekeeper.replay.__path__[0]) / "sample"
ATTACKS = {"papernot", "t-rnd", "jb-topk", "jb-self", "tramer"}


@pytest.fixture(scope="module")
def sample() -> pa.Table:
    """Read the shipped trace."""
    return pa.concat_tables(pq.read_table(path) for path in sorted(FOLDER.glob("*.parquet")))


def test_it_is_small_and_has_the_columns_of_a_trace(sample: pa.Table) -> None:
    """At most 4 MiB, exactly the columns of `QUERIES`, and a README beside it."""
    assert sum(path.stat().st_size for path in FOLDER.glob("*.parquet")) <= 4 * 2**20
    assert sample.schema.equals(QUERIES)
    assert "CC BY-SA" in (FOLDER / "README.md").read_text(encoding="utf-8")


def test_benign_accounts_and_attacks_are_there(sample: pa.Table) -> None:
    """At least 12 benign accounts of 400 queries, and every one of the five attacks."""
    counts = sample.group_by(["account", "kind"]).aggregate([("query", "count")]).to_pylist()
    benign = [row for row in counts if row["kind"] == "benign"]
    assert len(benign) >= 12
    assert min(row["query_count"] for row in benign) >= 400
    assert {row["kind"] for row in counts} == ATTACKS | {"benign"}
    assert len({row["account"] for row in counts}) == len(counts)


def test_queries_are_counted_and_in_order(sample: pa.Table) -> None:
    """Times never go back, and each account's queries are numbered from 0 without a gap."""
    times = sample["time"].cast(pa.int64()).to_numpy()
    assert (np.diff(times) >= 0).all()
    for account in pc.unique(sample["account"]).to_pylist():
        queries = sample.filter(pc.field("account") == account)["query"].to_numpy()
        np.testing.assert_array_equal(queries, np.arange(len(queries)))


def test_accounts_are_interleaved(sample: pa.Table) -> None:
    """Within any tenth of the trace, most accounts send something."""
    size = len(sample) // 10
    for start in range(0, len(sample) - size, size):
        assert len(pc.unique(sample["account"].slice(start, size))) >= 12


def test_attackers_say_what_they_crafted(sample: pa.Table) -> None:
    """An attacker's rounds never go back, and only round 0 may be natural."""
    for kind in ATTACKS:
        rows = sample.filter(pc.field("kind") == kind)
        rounds, synthetic = rows["round"].to_numpy(), rows["synthetic"].to_numpy()
        assert (np.diff(rounds) >= 0).all()
        assert synthetic[rounds > 0].all()
        assert synthetic[rounds == 0].any() == (kind == "tramer")
    benign = sample.filter(pc.field("kind") == "benign")
    assert not pc.any(benign["synthetic"]).as_py()


def test_labels_are_the_likeliest_class(sample: pa.Table) -> None:
    """Probabilities are rounded, so the label's is the largest up to the last decimal."""
    probabilities = np.array(sample["probabilities"].to_pylist())
    labels = sample["label"].to_numpy()
    own = probabilities[np.arange(len(labels)), labels]
    assert (own >= probabilities.max(axis=1) - 1e-6).all()


def test_its_events_are_valid(sample: pa.Table) -> None:
    """Every event of the trace survives the checks at the service's edge."""
    queries = 0
    for event in events_from_rows(sample):
        assert decode_event(encode_event(event)) == event
        queries += len(event)
    assert queries == len(sample)


def test_unusable_digits_are_refused_with_the_reason(tmp_path: Path) -> None:
    """A missing file, other columns and too few images are told apart, with the file's name."""
    path = tmp_path / "digits.parquet"
    with pytest.raises(TraceError, match=r"digits\.parquet: no such file"):
        read_digits(path)
    pq.write_table(pa.table({"picture": [b""]}), path)
    with pytest.raises(TraceError, match=r"digits\.parquet: not Parquet with `image` and `label`"):
        read_digits(path)
    pq.write_table(
        pa.table({"image": pa.array([], pa.binary()), "label": pa.array([], pa.int16())}), path
    )
    with pytest.raises(TraceError, match=r"at least \d+ images"):
        read_digits(path)


def test_the_profile_that_ships_is_small_and_keeps_its_promise_here(tmp_path: Path) -> None:
    """At most 3 MiB of networks; on the sample every thief is caught and no customer flagged."""
    profile, networks = open_profile(Path("sample"))
    assert sum((networks / each.file).stat().st_size for each in profile.networks) <= 3 * 2**20
    assert [each.detector for each in profile.detectors] == ["prada", "similarity", "likelihood"]
    assert profile.promise.alpha == 0.01
    results = evaluate([FOLDER], tmp_path, profile, networks=networks, jobs=1)
    assert len(results) == 18
    for life, tallies in results:
        [together] = [each for each in tallies if each.detector == ANY]
        assert (together.detection is None) == (life.kind == "benign"), life


def test_thieves_steal_within_their_budget_and_take_their_time() -> None:
    """Each sends as many queries as it may, from one account, in requests of its own size."""
    loaded = load_digits()
    images = (loaded.images * 15).astype(np.uint8)
    victim = Classifier(Architecture((8, 8), 10), 0)
    victim.fit(images[:500], loaded.target[:500], 2)
    for thief in (THIEVES[0]._replace(budget=60), THIEVES[4]._replace(budget=60)):
        seeds = images[draw_balanced(loaded.target, thief.seeds // 5, np.random.default_rng(0))]
        table = tabulate(steal(thief, "acct", victim, seeds, np.random.default_rng(0)))
        assert table["query"].to_pylist() == list(range(60))
        assert pc.unique(table["kind"]).to_pylist() == [thief.kind]
        assert pc.max(table["row"]).as_py() == thief.rows - 1
        np.testing.assert_array_equal(
            np.array(table["probabilities"].to_pylist(), np.float32),
            np.array(table["probabilities"].to_pylist(), np.float32).round(3),
        )
