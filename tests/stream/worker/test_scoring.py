"""A micro-batch's records: each is applied, skipped or a dead letter, and faults stay alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
import structlog.testing
from numpy.typing import NDArray

from gamekeeper.detectors import catalog
from gamekeeper.detectors.base import Batch, Detector, Floats, Segment
from gamekeeper.detectors.engine import DetectorProfile, Engine, Profile, resolve
from gamekeeper.schemas.errors import StateError
from gamekeeper.schemas.event import QueryEvent, decode_event, encode_event, event_key
from gamekeeper.schemas.tensor import Tensor
from gamekeeper.schemas.verdict import decode_verdict
from gamekeeper.stream.worker.changelog import Stored, Tenure
from gamekeeper.stream.worker.engines import Engines
from gamekeeper.stream.worker.metrics import Metrics
from gamekeeper.stream.worker.opening import Item, Records
from gamekeeper.stream.worker.scoring import Scored, Scorer
from gamekeeper.stream.worker.shares import QUANTUM, Shares
from gamekeeper.stream.worker.store import Store

POISON = -777.0
ALARM_AFTER = 5


class Counting(Detector):
    """Counts queries; raises on poison, half way through a batch."""

    name = "counting"
    kind = "theft"
    threshold = ALARM_AFTER - 0.5

    def __init__(self) -> None:
        """Begin at 0."""
        self.count = 0

    def update(self, batch: Batch) -> Floats:
        """Count, and raise where the first value is poison."""
        for row in batch.inputs:
            self.count += 1
            if row.flat[0] == POISON:
                raise ArithmeticError("poison")
        return np.arange(self.count - len(batch) + 1, self.count + 1, dtype=np.float64)

    def evidence(self, row: int) -> dict[str, Any]:
        """Say the count."""
        return {"count": self.count}

    def reset(self) -> None:
        """Begin again."""
        self.count = 0

    def drain(self) -> list[Segment]:
        """Have no log."""
        return []

    def header(self) -> bytes:
        """Encode the count."""
        return msgspec.msgpack.encode(self.count)

    def horizon(self) -> dict[str, int]:
        """Have no log."""
        return {}

    def load(self, header: bytes, segments: Sequence[Segment]) -> None:
        """Take over a count."""
        self.count = msgspec.msgpack.decode(header)

    def limit(self) -> int:
        """Take no space worth mentioning."""
        return 100


class Recorder:
    """A network that remembers how many rows it was given."""

    name = "embedding"
    sha256 = ""

    def __init__(self) -> None:
        """Begin with none."""
        self.rows: list[int] = []

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Take anything."""
        return True

    def __call__(self, inputs: NDArray[Any]) -> NDArray[np.float32]:
        """Make one zero of each row."""
        self.rows.append(len(inputs))
        return np.zeros((len(inputs), 1), np.float32)


class Bench:
    """A scorer over rows in a dict, and records for it."""

    def __init__(self, model: str = "*") -> None:
        """Make an engine of the counting detector for one model, or any."""
        detectors = (DetectorProfile(detector="counting"),)
        self.network = Recorder()
        engine = Engine(
            resolve(Profile(name="test", model=model, detectors=detectors)), [self.network]
        )
        self.rows: dict[bytes, Stored] = {}
        self.metrics = Metrics()
        engines = Engines(engine)
        self.store = Store(engines, 100, 2**30, {0: Tenure(1, 0)})
        self.scorer = Scorer(
            engines, self.store, self.rows.get, lambda _: nullcontext(), self.metrics
        )
        self.offset = 0

    def record(
        self, account: str = "alice", first: float = 0.0, rows: int = 1, **changes: Any
    ) -> Any:
        """Make a valid record; `changes` replace its key or value."""
        event = QueryEvent(
            id=f"event-{self.offset}",
            account=account,
            model="digits",
            time=self.offset,
            inputs=Tensor.from_array(np.full((rows, 2), first, np.float32)),
            labels=[0] * rows,
        )
        message = SimpleNamespace(topic="queries", partition=0, offset=self.offset)
        self.offset += 1
        fields = {"key": event_key(account), "value": encode_event(event), **changes}
        return SimpleNamespace(message=message, **fields)

    def score(self, *records: Any) -> Scored:
        """Score records and store the rows."""
        scored = Scored()
        shares = Shares(self.scorer.read, lambda partition, _: (partition, 0))
        for record in records:
            shares.put(record)
        while turn := shares.take():
            for _, fresh in self.parts(shares, turn):
                scored.add(fresh)
                scored.skipped += fresh.skipped
                self.store.evict()
        self.rows.update(
            {row.key: Stored(1, row.value) for row in scored.rows if row.value is not None}
        )
        return scored

    def parts(self, shares: Shares, turn: Records | Item) -> Iterator[tuple[Records, Scored]]:
        """Score what has its turn; nothing comes of a large event before its last slice."""
        if isinstance(turn, Records):
            yield from self.scorer.parts(turn)
        elif part := self.scorer.advance(turn):
            shares.done(turn)
            yield part

    def count(self, account: str = "alice") -> int:
        """Tell how many queries the account's stored state has seen."""
        self.store.clear()
        source = SimpleNamespace(topic="queries", partition=0, offset=0)
        entry = self.store.open((account, "digits"), source, self.rows.get)  # type: ignore[arg-type]
        return entry.account.queries


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Keep the logs off the terminal, where tracebacks take seconds to paint."""
    with structlog.testing.capture_logs():
        yield


@pytest.fixture(autouse=True)
def counting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let profiles name the counting detector."""
    monkeypatch.setitem(catalog.DETECTORS, "counting", Counting)


def test_good_events_are_applied_and_alarm() -> None:
    """Valid events are scored in order, and a verdict is encoded under its account's key."""
    bench = Bench()
    scored = bench.score(*[bench.record() for _ in range(8)])
    assert [outcome.first for outcome in scored.outcomes] == list(range(8))
    [(key, payload)] = scored.verdicts
    assert key == b"alice"
    verdict = decode_verdict(payload)
    assert (verdict.query, verdict.offset) == (ALARM_AFTER - 1, ALARM_AFTER - 1)
    assert not scored.letters
    assert bench.count() == 8


@pytest.mark.parametrize(
    ("changes", "kind", "path"),
    [
        ({"value": None}, "schema", "$"),
        ({"value": b"garbage"}, "schema", "$"),
        ({"value": msgspec.msgpack.encode({"id": "x"})}, "schema", "$"),
        ({"key": None}, "key", "$.account"),
        ({"key": b"mallory"}, "key", "$.account"),
        ({"key": b"\xff\xfe"}, "key", "$.account"),
    ],
)
def test_a_broken_record_becomes_a_dead_letter(
    changes: dict[str, Any], kind: str, path: str
) -> None:
    """A record that is no event is told with its source; its neighbours are applied."""
    bench = Bench()
    records = [bench.record(), bench.record(**changes), bench.record()]
    scored = bench.score(*records)
    assert len(scored.outcomes) == 2
    [letter] = scored.letters
    assert (letter.kind, letter.offset, letter.path[: len(path)]) == (kind, 1, path)
    assert (letter.key, letter.value) == (records[1].key, records[1].value)
    headers = dict(letter.headers())
    assert set(headers) == {
        *("reason", "path", "source_topic", "source_partition", "source_offset"),
    }
    assert headers["source_offset"] == b"1"
    assert headers["reason"]


def test_events_applied_before_are_skipped() -> None:
    """What is delivered again after a crash is neither scored twice nor lost."""
    bench = Bench()
    records = [bench.record() for _ in range(6)]
    bench.score(*records[:4])
    bench.store.clear()
    scored = bench.score(*records)
    assert scored.skipped == 4
    assert len(scored.outcomes) == 2
    assert bench.count() == 6


def test_a_raising_event_is_singled_out() -> None:
    """An event that a detector raises on becomes a dead letter; all others count, in order."""
    bench = Bench()
    records = [
        bench.record("alice"),
        bench.record("bob"),
        bench.record("alice", POISON),
        bench.record("alice"),
        bench.record("bob"),
        bench.record("alice", POISON),
        bench.record("alice"),
    ]
    scored = bench.score(*records)
    assert sorted(letter.offset for letter in scored.letters) == [2, 5]
    assert {letter.kind for letter in scored.letters} == {"internal"}
    assert scored.letters[0].reason.startswith("internal: ArithmeticError: poison")
    offsets = [outcome.arrival.source.offset for outcome in scored.outcomes]
    assert sorted(offsets) == [0, 1, 3, 4, 6]
    firsts = {outcome.arrival.source.offset: outcome.first for outcome in scored.outcomes}
    assert [firsts[offset] for offset in (0, 3, 6)] == [0, 1, 2]
    assert (bench.count("alice"), bench.count("bob")) == (3, 2)


def test_an_account_of_nothing_but_faults_blocks_nobody() -> None:
    """Where every event of an account raises, all become dead letters and the rest goes on."""
    bench = Bench()
    records = [bench.record("mallory", POISON) for _ in range(20)]
    scored = bench.score(*records, bench.record("alice"))
    assert len(scored.letters) == 20
    assert len(scored.outcomes) == 1
    later = bench.score(bench.record("mallory"), bench.record("alice"))
    assert [outcome.first for outcome in later.outcomes] == [0, 1]


def test_state_that_cannot_be_written_is_told() -> None:
    """Where an account's header cannot be encoded, its events become dead letters."""
    bench = Bench()
    bench.score(bench.record("alice"), bench.record("bob"))
    account = bench.store.hot(("alice", "digits")).account
    account.header = lambda: (_ for _ in ()).throw(TypeError("no"))  # type: ignore[method-assign]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Counting, "header", lambda self: 1 / 0 if self.count > 1 else b"\x01")
        scored = bench.score(bench.record("alice"), bench.record("carol"))
    assert [letter.key for letter in scored.letters] == [b"alice"]
    assert [outcome.arrival.event.account for outcome in scored.outcomes] == ["carol"]
    assert bench.count("alice") == 1


def test_a_large_event_leads_to_what_it_did_at_a_stretch() -> None:
    """In slices, it has one outcome, and its alarm the same place."""
    bench = Bench()
    bench.score(bench.record())
    scored = bench.score(bench.record(rows=10 * QUANTUM + 7), bench.record())
    assert [outcome.first for outcome in scored.outcomes] == [1, 10 * QUANTUM + 8]
    [counts] = [outcome.statistics["counting"] for outcome in scored.outcomes[:1]]
    assert counts.tolist() == list(range(2, 10 * QUANTUM + 9))
    verdict = decode_verdict(scored.verdicts[0][1])
    assert (verdict.query, verdict.row, verdict.offset) == (ALARM_AFTER - 1, ALARM_AFTER - 2, 1)
    assert bench.count() == 10 * QUANTUM + 9


def test_a_large_event_that_raises_late_leaves_no_trace() -> None:
    """It is a dead letter, and the account is what it was before; others go on meanwhile."""
    bench = Bench()
    bench.score(bench.record("alice"), bench.record("bob"))
    poisoned = bench.record("alice", rows=4 * QUANTUM)
    values = np.zeros((4 * QUANTUM, 2), np.float32)
    values[-1] = POISON
    event = msgspec.structs.replace(decode_event(poisoned.value), inputs=Tensor.from_array(values))
    poisoned.value = encode_event(event)
    scored = bench.score(poisoned, bench.record("bob"), bench.record("alice"), bench.record("bob"))
    assert [letter.offset for letter in scored.letters] == [2]
    assert "poison" in scored.letters[0].reason
    firsts = {outcome.arrival.source.offset: outcome.first for outcome in scored.outcomes}
    assert firsts == {3: 1, 4: 1, 5: 2}
    assert (bench.count("alice"), bench.count("bob")) == (2, 3)


def test_an_account_amid_an_event_stays_in_memory() -> None:
    """However little memory there is, it is neither evicted nor saved before the last slice."""
    bench = Bench()
    bench.score(*[bench.record(account) for account in ("alice", "bob", "carol")])
    bench.store.max_bytes, bench.store._limit = 1, 1
    shares = Shares(bench.scorer.read, lambda partition, _: (partition, 0))
    for record in (
        bench.record("alice", rows=3 * QUANTUM),
        bench.record("bob", rows=3 * QUANTUM),
        *[bench.record("carol") for _ in range(5)],
    ):
        shares.put(record)
    done: list[Any] = []
    while turn := shares.take():
        for part, scored in bench.parts(shares, turn):
            done += [(item.key[0], len(item.arrival.event)) for item in part.items]
            assert all(outcome.first == 1 for outcome in scored.outcomes[:1])
        bench.store.evict()
        assert len(bench.store) <= 2
    assert done == [("carol", 1)] * 5 + [("alice", 3 * QUANTUM), ("bob", 3 * QUANTUM)]
    assert not bench.store.pinned()[0]


def test_a_large_event_that_was_applied_before_is_skipped() -> None:
    """What is delivered again after a crash is not scored a second time, however large."""
    bench = Bench()
    record = bench.record(rows=2 * QUANTUM)
    bench.score(record)
    bench.store.clear()
    assert bench.score(record).skipped == 1
    assert bench.count() == 2 * QUANTUM
    assert not bench.store.pinned()[0]


def test_damaged_state_starts_anew() -> None:
    """An account whose rows cannot be read is watched from now on, and that is counted."""
    bench = Bench()
    bench.score(*[bench.record() for _ in range(3)])
    [key] = bench.rows
    bench.rows[key] = Stored(1, b"garbled")
    bench.store.clear()
    scored = bench.score(bench.record())
    assert [outcome.first for outcome in scored.outcomes] == [0]
    assert not scored.letters
    assert b"gamekeeper_state_lost_total 1.0" in bench.metrics.text()
    assert bench.count() == 1


def test_a_detector_with_unreadable_state_starts_anew_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The account counts on; which detector began anew is said and counted, once."""
    bench = Bench()
    bench.score(*[bench.record() for _ in range(3)])
    bench.store.clear()

    def refuse(*_: object) -> None:
        raise StateError("of another build")

    with monkeypatch.context() as patch, structlog.testing.capture_logs() as logs:
        patch.setattr(Counting, "load", refuse)
        scored = bench.score(bench.record())
    scored.add(bench.score(bench.record()))
    assert [outcome.first for outcome in scored.outcomes] == [3, 4]
    assert [outcome.statistics["counting"].tolist() for outcome in scored.outcomes] == [[1], [2]]
    assert b"gamekeeper_state_lost_total 1.0" in bench.metrics.text()
    assert [each["error"] for each in logs] == ["of another build"]


def test_a_model_that_is_not_watched_leaves_no_state() -> None:
    """Events of other models than the profile's are let through without rows."""
    bench = Bench(model="other")
    scored = bench.score(bench.record())
    assert len(scored.outcomes) == 1
    assert not scored.rows
    assert not scored.outcomes[0].statistics


@pytest.mark.parametrize("ahead", [False, True])
def test_networks_run_once_and_for_watched_models_alone(ahead: bool) -> None:
    """No network sees events of other models, neither ahead of scoring nor while it goes on."""
    for model, rows in (("other", []), ("digits", [2])):
        bench = Bench(model)
        shares = Shares(bench.scorer.read, lambda partition, _: (partition, 0))
        shares.put(bench.record("alice"))
        shares.put(bench.record("bob"))
        records = shares.take()
        assert isinstance(records, Records)
        if ahead:
            bench.scorer.featurize(records)
        [(_, scored)] = bench.scorer.parts(records)
        assert len(scored.outcomes) == 2
        assert bench.network.rows == rows
