"""The tap, without a broker: what it copies, samples, splits and sends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from gamekeeper.schemas.errors import BrokerError, SettingsError
from gamekeeper.stream.tap import MemoryTransport, QueryTap
from gamekeeper.stream.tap.tap import is_sampled
from gamekeeper.stream.tap.transport import KafkaTransport

IMAGE = np.arange(784, dtype=np.float32).reshape(1, 28, 28)


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
    monkeypatch.setattr("gamekeeper.stream.tap.transport.BLOCK_MS", 50)
    transport = QueryTap(model="digits")._transport
    assert isinstance(transport, KafkaTransport)
    with pytest.raises(BrokerError, match=r"127\.0\.0\.1:7,127\.0\.0\.1:9"):
        transport.open()
