"""The tap, without a broker: what it accepts, refuses, drops, copies and promises."""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gamekeeper.schemas.errors import BrokerError, SettingsError
from gamekeeper.stream.broker import free_port
from gamekeeper.stream.tap import QueryTap, is_sampled
from gamekeeper.stream.transport import Done, KafkaTransport, MemoryTransport, Record

IMAGE = np.arange(784, dtype=np.float32).reshape(1, 28, 28)


@pytest.fixture
def memory() -> MemoryTransport:
    """A broker in memory."""
    return MemoryTransport()


@pytest.fixture
def tap(memory: MemoryTransport) -> Iterator[QueryTap]:
    """A tap into the broker in memory."""
    with QueryTap(model="digits", transport=memory, close_timeout=0.2) as tap:
        yield tap


class Mute(MemoryTransport):
    """A broker that takes records and never answers."""

    def send(self, record: Record, done: Done) -> None:
        """Keep the record."""
        self.records.append(record)


class Fussy(MemoryTransport):
    """A broker that refuses every other record."""

    def send(self, record: Record, done: Done) -> None:
        """Refuse the first, keep the second, and so on."""
        self.records.append(record)
        done(None if len(self.records) % 2 == 0 else BrokerError("not this one"))


class Broken(MemoryTransport):
    """A transport whose own code fails."""

    def send(self, record: Record, done: Done) -> None:
        """Fail."""
        raise ZeroDivisionError


def test_an_event_arrives_as_it_was_recorded(tap: QueryTap, memory: MemoryTransport) -> None:
    """All that `record` was given is in the event, its key and its headers."""
    probabilities, embedding = np.array([[0.25, 0.75]]), np.ones((1, 3), np.float16)
    assert tap.record("bob", IMAGE, [1], probabilities, embedding=embedding, time=7, id="r-1")
    assert tap.flush()
    (event,) = memory.events()
    assert (event.account, event.model, event.id, event.time) == ("bob", "digits", "r-1", 7)
    assert event.labels == [1]
    assert event.sampling == 1.0
    for tensor, array in (
        (event.inputs, IMAGE),
        (event.probabilities, probabilities),
        (event.embedding, embedding),
    ):
        assert tensor is not None
        np.testing.assert_array_equal(tensor.array(), array)
        assert tensor.dtype == array.dtype.name
    (record,) = memory.records
    assert (record.topic, record.key) == ("gamekeeper.queries", b"bob")
    assert dict(record.headers)["ce_id"] == b"r-1"
    assert dict(record.headers)["ce_source"].startswith(b"/tap/")


def test_the_callers_arrays_may_be_reused(memory: MemoryTransport) -> None:
    """What is sent is what the arrays held when `record` was called."""
    memory.down = True
    with QueryTap(model="digits", transport=memory) as tap:
        inputs, labels, scores = IMAGE.copy(), np.array([3]), np.array([[0.5, 0.5]])
        view = inputs[:, ::2, ::-1]
        tap.record("bob", inputs, labels, scores)
        tap.record("bob", view, labels)
        expected = view.copy()
        inputs[:], labels[:], scores[:] = -1, -1, -1
        memory.down = False
    first, second = memory.events()
    assert first.labels == second.labels == [3]
    np.testing.assert_array_equal(first.inputs.array(), IMAGE)
    np.testing.assert_array_equal(second.inputs.array(), expected)
    assert first.probabilities is not None
    np.testing.assert_array_equal(first.probabilities.array(), [[0.5, 0.5]])


@pytest.mark.parametrize(
    ("inputs", "labels"),
    [
        (torch.ones(2, 3, requires_grad=True), torch.tensor([1, 2])),
        ([[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]], (1, 2)),
        (np.ones((2, 3), ">f8"), np.array([1, 2], np.uint8)),
        (np.ones((3, 2), order="C").T, np.array([1, 2], ">i4")),
        (np.ones((2, 3), bool), [True, 2]),
    ],
)
def test_array_likes_are_recorded(
    tap: QueryTap, memory: MemoryTransport, inputs: Any, labels: Any
) -> None:
    """Torch tensors, lists, other byte orders and memory layouts are all taken."""
    assert tap.record("bob", inputs, labels)
    assert tap.flush()
    (event,) = memory.events()
    assert event.labels == [1, 2]
    np.testing.assert_array_equal(event.inputs.array(), np.ones((2, 3)))


class Hostile:
    """An object that fails whatever is asked of it."""

    def __array__(self, *_: Any, **__: Any) -> Any:
        """Fail."""
        raise RuntimeError("no array here")

    def __str__(self) -> str:
        """Fail."""
        raise ValueError("no text here")

    __repr__ = __str__
    __len__ = __array__
    __eq__ = __array__  # type: ignore[assignment]
    __hash__ = None  # type: ignore[assignment]


class UnspeakableError(Exception):
    """An error that has no text."""

    def __str__(self) -> str:
        """Fail."""
        raise RuntimeError


class Explosive:
    """An object that fails with an error that has no text."""

    def __array__(self, *_: Any, **__: Any) -> Any:
        """Fail."""
        raise UnspeakableError


FAULTY: list[tuple[Any, ...]] = [
    (None, IMAGE, [1]),
    ("", IMAGE, [1]),
    (7, IMAGE, [1]),
    ("\ud800", IMAGE, [1]),
    ("a" * 300, IMAGE, [1]),
    ("bob", None, [1]),
    ("bob", "text", [1]),
    ("bob", IMAGE, None),
    ("bob", IMAGE, 1),
    ("bob", IMAGE, []),
    ("bob", IMAGE, [1, 2]),
    ("bob", IMAGE, [[1]]),
    ("bob", IMAGE, [1.0]),
    ("bob", IMAGE, ["seven"]),
    ("bob", IMAGE, [-1]),
    ("bob", IMAGE, [2**70]),
    ("bob", IMAGE[0, 0, 0], [1]),
    ("bob", IMAGE * np.nan, [1]),
    ("bob", IMAGE + np.inf, [1]),
    ("bob", IMAGE.astype(complex), [1]),
    ("bob", np.array([object()]), [1]),
    ("bob", [[1.0, 2.0], [3.0]], [1, 2]),
    ("bob", np.empty((0, 3)), np.empty(0, int)),
    ("bob", np.empty((1, 0)), [1]),
    ("bob", IMAGE, [1], np.ones(1)),
    ("bob", IMAGE, [1], np.array([[-3.0, 4.0]])),
    ("bob", IMAGE, [1], "text"),
    ("bob", torch.ones(1, 3, dtype=torch.bfloat16), [1]),
    ("bob", torch.ones(1, 3, device="meta"), [1]),
    ("bob", Hostile(), [1]),
    ("bob", IMAGE, Hostile()),
    (Hostile(), IMAGE, [1]),
    ("bob", Explosive(), [1]),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("arguments", FAULTY, ids=range(len(FAULTY)))
def test_faulty_requests_are_rejected_and_raise_nothing(
    tap: QueryTap, memory: MemoryTransport, arguments: tuple[Any, ...]
) -> None:
    """Whatever is passed, `record` returns, nothing is sent, one rejection is counted."""
    tap.record(*arguments)
    assert tap.flush()
    assert tap.stats().rejected == 1
    assert tap.record("bob", IMAGE, [1])  # and the tap lives on
    assert tap.flush()
    assert [event.labels for event in memory.events()] == [[1]]


@pytest.mark.parametrize(
    "more", [{"time": "now"}, {"time": -1}, {"id": 3}, {"id": ""}, {"embedding": [1]}]
)
def test_faulty_options_are_rejected(tap: QueryTap, more: dict[str, Any]) -> None:
    """A wrong time, id or embedding is a rejected request, too."""
    tap.record("bob", IMAGE, [1], **more)
    assert tap.flush()
    assert tap.stats().rejected == 1


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=8,
)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=150, deadline=None)
@given(arguments=st.tuples(anything, anything, anything, anything))
def test_record_never_raises(arguments: tuple[Any, ...]) -> None:
    """Any Python values: a bool comes back, and every call ends in one counter."""
    with QueryTap(model="digits", transport=MemoryTransport()) as tap:
        assert tap.record(*arguments) in (True, False)
        assert tap.flush()
        counts = tap.stats()
        assert counts.rejected + counts.delivered == 1


def test_warnings_are_few_and_name_the_fault(
    tap: QueryTap, caplog: pytest.LogCaptureFixture
) -> None:
    """A thousand faulty requests make one warning."""
    with caplog.at_level(logging.WARNING, "gamekeeper.tap"):
        for _ in range(1000):
            tap.record("bob", IMAGE, [1, 2])
        tap.close()
    (message,) = [record.getMessage() for record in caplog.records]
    assert "(1, 28, 28) for 2 labels" in message
    assert tap.stats().rejected == 1000


@pytest.mark.parametrize("bounds", [{"max_queue_events": 10}, {"max_queue_bytes": 60_000}])
def test_a_full_queue_drops_and_counts(bounds: dict[str, int]) -> None:
    """Beyond either bound, events are dropped, also when the producer holds the others."""
    mute = Mute()
    tap = QueryTap(model="digits", transport=mute, close_timeout=0.05, **bounds)
    accepted = sum(tap.record("bob", IMAGE, [1]) for _ in range(50))
    counts = tap.stats()
    assert 0 < accepted <= 11
    assert counts.recorded == counts.queued_events == accepted
    assert counts.queued_bytes <= bounds.get("max_queue_bytes", 10**9)
    assert counts.dropped_full == 50 - accepted
    final = tap.close()
    assert (final.failed, final.delivered, final.queued_events) == (accepted, 0, 0)


def test_a_broker_that_comes_up_late_gets_everything_in_order(memory: MemoryTransport) -> None:
    """What was recorded while the broker was down arrives, each account's in its order."""
    memory.down = True
    with QueryTap(model="digits", transport=memory) as tap:
        for number in range(60):
            assert tap.record(f"account-{number % 3}", IMAGE, [number], id=str(number))
        assert not tap.flush(0.15)
        memory.down = False
    assert [event.id for event in memory.events()] == [str(number) for number in range(60)]


def test_refused_events_are_counted_as_failed() -> None:
    """Events that the broker refuses are failures, the others are delivered."""
    with QueryTap(model="digits", transport=Fussy()) as tap:
        for _ in range(10):
            tap.record("bob", IMAGE, [1])
        assert tap.flush()
        assert (tap.stats().delivered, tap.stats().failed) == (5, 5)


def test_close_with_the_broker_down_ends_and_counts(caplog: pytest.LogCaptureFixture) -> None:
    """What is left when the bound is over is counted as failed and reported."""
    for transport in (MemoryTransport(down=True), Mute(), Broken()):
        tap = QueryTap(model="digits", transport=transport, close_timeout=0.05)
        for _ in range(20):
            tap.record("bob", IMAGE, [1])
        final = tap.close()
        assert (final.recorded, final.failed, final.queued_bytes) == (20, 20, 0)
        assert "20 events undelivered" in caplog.text
        caplog.clear()


def test_a_closed_tap_refuses_quietly(tap: QueryTap) -> None:
    """After `close`, twice even, `record` returns False and starts nothing."""
    tap.record("bob", IMAGE, [1])
    tap.close()
    assert tap.close() == tap.stats()
    assert tap.record("bob", IMAGE, [1]) is False
    assert "gamekeeper-tap" not in {thread.name for thread in threading.enumerate()}
    assert QueryTap(model="digits", transport=MemoryTransport()).close().recorded == 0


def test_threads_share_a_tap_and_keep_each_accounts_order(memory: MemoryTransport) -> None:
    """Eight threads record at once; nothing is lost, doubled or out of its account's order."""
    tap = QueryTap(model="digits", transport=memory)

    def serve(account: str) -> None:
        for number in range(200):
            assert tap.record(account, IMAGE, [number])

    threads = [threading.Thread(target=serve, args=(f"account-{i}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tap.close().delivered == 1600
    events = memory.events()
    assert len({event.id for event in events}) == 1600
    for i in range(8):
        mine = [event.labels[0] for event in events if event.account == f"account-{i}"]
        assert mine == list(range(200))


def test_sampling_takes_accounts_whole(memory: MemoryTransport) -> None:
    """About the given fraction of accounts is recorded, each with all its requests."""
    with QueryTap(model="digits", transport=memory, sample=0.25, model_version="7") as tap:
        for round_ in range(3):
            for number in range(400):
                tap.record(f"account-{number}", IMAGE, [round_])
        assert tap.flush()
    events = memory.events()
    accounts = {event.account for event in events}
    assert 60 < len(accounts) < 140  # 100 expected, standard deviation 9
    assert len(events) == 3 * len(accounts)
    assert tap.stats().sampled_out == 1200 - len(events)
    assert {(event.sampling, event.model_version) for event in events} == {(0.25, "7")}


def test_the_sample_is_the_same_everywhere() -> None:
    """Fixed expectations: which accounts are sampled must not change between releases."""
    names = ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi"]
    assert [name for name in names if is_sampled(name, 0.5)] == ["alice", "bob", "dave", "frank"]
    assert all(is_sampled(name, 1.0) for name in names)


def test_large_requests_are_split(memory: MemoryTransport) -> None:
    """A request beyond a broker's record size or the schema's rows arrives in parts, in order."""
    many, wide = np.arange(9000.0)[:, None], np.ones((10, 50_000), np.float64)
    with QueryTap(model="digits", transport=memory) as tap:
        assert tap.record("bob", many, np.arange(9000) % 10, id="many")
        assert tap.record("bob", wide, np.arange(10), np.full((10, 4), 0.25), id="wide")
        assert tap.flush()
        assert tap.stats().delivered == 3 + 5
        assert tap.record("bob", many, np.arange(9000) % 10)
    events = memory.events()
    assert len({event.id for event in events}) == 3 + 5 + 3
    assert [event.id for event in events[:3]] == ["many", "many/1", "many/2"]
    assert max(len(record.value) for record in memory.records) < 1_048_588
    for name, inputs in (("many", many), ("wide", wide)):
        parts = [event.inputs.array() for event in events if event.id.startswith(name)]
        np.testing.assert_array_equal(np.concatenate(parts), inputs)


@pytest.mark.parametrize(
    "wrong",
    [
        {"model": ""},
        {"sample": 0.0},
        {"sample": 1.5},
        {"security": {"sasl_pasword": "x"}},
        {"security": {"acks": 0}},
    ],
)
def test_wrong_settings_are_said_at_once(wrong: dict[str, Any]) -> None:
    """Settings that cannot work are errors where the tap is made, not later."""
    with pytest.raises(SettingsError):
        QueryTap("127.0.0.1:9", **{"model": "digits", **wrong})


def test_servers_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `servers`, `KAFKA_BOOTSTRAP_SERVERS` says where the brokers are."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:7, 127.0.0.1:9")
    monkeypatch.setattr("gamekeeper.stream.transport.BLOCK_MS", 50)
    transport = QueryTap(model="digits")._transport
    assert isinstance(transport, KafkaTransport)
    with pytest.raises(BrokerError, match=r"127\.0\.0\.1:7,127\.0\.0\.1:9"):
        transport.open()


def test_an_outage_uses_up_no_file_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts that fail leave no socket open, also where the garbage collector never runs."""
    monkeypatch.setattr("gamekeeper.stream.transport.BLOCK_MS", 50)
    transport = KafkaTransport(f"127.0.0.1:{free_port()}")
    gc.disable()
    try:
        counts = []
        for _ in range(5):
            with pytest.raises(BrokerError, match="no Kafka broker"):
                transport.open()
            counts.append(len(os.listdir("/proc/self/fd")))  # noqa: PTH208
    finally:
        gc.enable()
    assert len(set(counts)) == 1


def run(code: str) -> str:
    """Run a script in an interpreter of its own; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        env=dict(os.environ),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_tap_loads_little() -> None:
    """In a model server, the tap brings numpy, kafka-python, crc32c, msgspec and nothing else."""
    roots = run(
        """
        import sys
        before = set(sys.modules)
        import gamekeeper.stream.tap, gamekeeper.stream.asgi
        print(*{name.partition(".")[0] for name in set(sys.modules) - before})
        """
    ).split()
    foreign = {root for root in roots if root not in sys.stdlib_module_names}
    assert {root for root in foreign if not root.startswith("_")} <= {
        *("gamekeeper", "numpy", "kafka", "crc32c", "msgspec"),
        "typing_extensions",  # msgspec looks for it
    }


def test_the_tap_closes_at_exit() -> None:
    """A script that ends without closing its tap has delivered what it recorded."""
    printed = run(
        """
        from gamekeeper.stream.tap import QueryTap
        from gamekeeper.stream.transport import MemoryTransport

        class Printing(MemoryTransport):
            def send(self, record, done):
                print(record.key.decode(), flush=True)
                done(None)

        tap = QueryTap(model="digits", transport=Printing())
        for number in range(5):
            tap.record(f"account-{number}", [[1.0]], [1])
        """
    )
    assert printed.split() == [f"account-{number}" for number in range(5)]


def test_a_forked_child_starts_afresh() -> None:
    """Parent and child each deliver their own events, also when the tap was in use before."""
    printed = run(
        """
        import os
        from gamekeeper.stream.tap import QueryTap
        from gamekeeper.stream.transport import MemoryTransport

        memory = MemoryTransport(down=True)
        tap = QueryTap(model="digits", transport=memory)
        tap.record("before", [[1.0]], [1])
        child = os.fork()
        memory.down = False
        tap.record("child" if child == 0 else "parent", [[1.0]], [1])
        counts = tap.close()
        print(*(e.account for e in memory.events()), counts.recorded, counts.delivered, flush=True)
        if child == 0:
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        """
    )
    assert sorted(printed.splitlines()) == ["before parent 2 2", "child 1 1"]
