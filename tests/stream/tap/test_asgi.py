"""The ASGI middleware and the decorator, under a real server and by hand."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.admin import NewTopic

from gamekeeper.schemas.event import decode_event
from gamekeeper.stream.tap import MemoryTransport, QueryTap
from gamekeeper.stream.tap.asgi import TapMiddleware, current_account, from_header, tapped
from support.brokers import Broker, Names

Message = MutableMapping[str, Any]
WEIGHTS = np.array([[1.0, -1.0], [0.5, 2.0]])


def softmax(values: Any) -> Any:
    """Turn scores `(n, k)` into probabilities."""
    exponentials = np.exp(values - values.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


class ModelServer:
    """A bare ASGI app, without any framework: JSON rows in, JSON labels out."""

    def __init__(self, tap: QueryTap) -> None:
        """Decorate the model."""
        self.predict = tapped(tap)(lambda inputs: softmax(inputs @ WEIGHTS))

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        """Answer POST requests."""
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        # In another thread, as frameworks run plain functions.
        result = await asyncio.to_thread(self.predict, np.array(json.loads(body)))
        answer = json.dumps(result.argmax(axis=1).tolist()).encode()
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """Run an app under uvicorn on a loopback port; yield its URL."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.mark.broker
def test_requests_to_a_real_server_reach_a_real_broker(broker: Broker, names: Names) -> None:
    """HTTP requests of two accounts are on the topic once the server has shut down."""
    admin = KafkaAdminClient(bootstrap_servers=broker.address)
    admin.create_topics([NewTopic(names("queries"), num_partitions=1, replication_factor=1)])
    admin.close()
    tap = QueryTap(broker.address, model="digits", topic=names("queries"), close_timeout=180)
    app = TapMiddleware(ModelServer(tap), tap, account=from_header("X-Account-Id"))
    rows = [[1.0, 2.0], [3.0, -1.0]]
    with serving(app) as url, httpx.Client() as client:
        for number in range(10):
            answer = client.post(url, json=rows, headers={"x-account-id": f"account-{number % 2}"})
            assert answer.json() == [1, 0]
    assert tap.stats().delivered == 10  # closed by the server's shutdown
    consumer = KafkaConsumer(bootstrap_servers=broker.address, enable_auto_commit=False)
    part = TopicPartition(names("queries"), 0)
    consumer.assign([part])
    consumer.seek_to_beginning(part)
    events = []
    while len(events) < 10:
        for records in consumer.poll(timeout_ms=500).values():
            events += [decode_event(record.value) for record in records]
    consumer.close()
    assert [event.account for event in events] == ["account-0", "account-1"] * 5
    for event in events:
        np.testing.assert_array_equal(event.inputs.array(), rows)
        assert event.labels == [1, 0]
        assert event.probabilities is not None
        np.testing.assert_allclose(event.probabilities.array(), softmax(np.array(rows) @ WEIGHTS))


def test_requests_without_an_account_are_answered_and_counted(tap: QueryTap) -> None:
    """No header, or a finder that fails: the client gets its answer, the tap a rejection."""

    def failing(scope: Message) -> str:
        raise KeyError("session")

    for account in (from_header("x-account-id"), failing):
        before = tap.stats().rejected
        with serving(TapMiddleware(ModelServer(tap), tap, account=account)) as url:
            assert httpx.post(url, json=[[1.0, 2.0]]).json() == [1]
            assert tap.stats().rejected > before
    assert tap.stats().recorded == 0


def run(app: Any, scope: Message, incoming: list[Message]) -> list[Message]:
    """Drive an app by hand; return what it sent."""
    sent: list[Message] = []

    async def receive() -> Message:
        return incoming.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent


STARTUP, SHUTDOWN = {"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}


def test_an_apps_own_lifespan_is_kept(tap: QueryTap) -> None:
    """The app's startup and shutdown run as ever; the tap closes after the app's shutdown."""

    async def app(scope: Message, receive: Any, send: Any) -> None:
        assert await receive() == STARTUP
        await send({"type": "lifespan.startup.complete", "mine": True})
        assert await receive() == SHUTDOWN
        assert tap.record("bob", [[1.0]], [1])
        await send({"type": "lifespan.shutdown.complete", "mine": True})

    wrapped = TapMiddleware(app, tap, account=from_header("x"))
    sent = run(wrapped, {"type": "lifespan"}, [STARTUP, SHUTDOWN])
    assert [message["mine"] for message in sent] == [True, True]
    assert tap.stats().delivered == 1
    assert not tap.record("bob", [[1.0]], [1])


def test_an_app_that_fails_to_start_fails() -> None:
    """An error during the app's startup is passed on."""

    async def app(scope: Message, receive: Any, send: Any) -> None:
        await receive()
        raise OSError("no database")

    tap = QueryTap(model="digits", transport=MemoryTransport())
    with pytest.raises(OSError, match="no database"):
        run(TapMiddleware(app, tap, account=from_header("x")), {"type": "lifespan"}, [STARTUP])


def test_an_app_without_lifespan_gets_one(tap: QueryTap) -> None:
    """The middleware answers the server's lifespan events for an app that knows none."""
    app = TapMiddleware(ModelServer(tap), tap, account=from_header("x"))
    sent = run(app, {"type": "lifespan"}, [STARTUP, SHUTDOWN])
    assert [m["type"] for m in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert not tap.record("bob", [[1.0]], [1])


def inside(tap: QueryTap, call: Any) -> Any:
    """Call something within a request of bob's; return its result."""
    results = []

    async def app(scope: Message, receive: Any, send: Any) -> None:
        assert current_account() == "bob"
        result = call()
        results.append(await result if asyncio.iscoroutine(result) else result)

    scope = {"type": "http", "headers": [(b"x-account-id", b"bob")]}
    run(TapMiddleware(app, tap, account=from_header("x-account-id")), scope, [])
    assert current_account() is None
    return results[0]


class Model:
    """A model whose methods are tapped, by the tap given."""

    def __init__(self, tap: QueryTap) -> None:
        """Decorate."""
        self.label = tapped(tap)(self.plain)

    def plain(self, images: Any) -> Any:
        """Return labels."""
        return np.array([3] * len(images))


def test_plain_async_method_and_keyword_calls_are_recorded(
    tap: QueryTap, memory: MemoryTransport
) -> None:
    """The first argument is found however it is passed; the result comes back untouched."""
    images, result = np.ones((2, 3)), np.array([[0.1, 0.9], [0.8, 0.2]])

    @tapped(tap)
    def predict(images: Any, scale: float = 1.0) -> Any:
        return result

    @tapped(tap)
    async def predict_later(images: Any) -> Any:
        await asyncio.sleep(0)
        return np.array([1, 0]), result

    class Network:
        @tapped(tap)
        def forward(self, images: Any) -> Any:
            return result

    assert predict.__name__ == "predict"
    assert inside(tap, lambda: predict(images, scale=2.0)) is result
    assert inside(tap, lambda: predict(scale=2.0, images=images)) is result
    assert inside(tap, lambda: predict_later(images))[1] is result
    assert inside(tap, lambda: Network().forward(images)) is result
    assert list(inside(tap, lambda: Model(tap).label(images))) == [3, 3]
    assert tap.flush()
    events = memory.events()
    assert [event.labels for event in events] == [[1, 0]] * 4 + [[3, 3]]
    assert [event.probabilities is None for event in events] == [False] * 4 + [True]
    for event in events:
        assert event.account == "bob"
        np.testing.assert_array_equal(event.inputs.array(), images)


def test_results_of_another_form_are_read_by_the_given_reader(
    tap: QueryTap, memory: MemoryTransport
) -> None:
    """`read` says where the labels are; one that fails costs the record, not the request."""

    @tapped(tap, read=lambda answer: (answer["classes"], None))
    def predict(images: Any) -> dict[str, Any]:
        return {"classes": [7]} if images[0][0] else {}

    assert inside(tap, lambda: predict([[1.0]])) == {"classes": [7]}
    assert inside(tap, lambda: predict([[0.0]])) == {}
    assert tap.flush()
    assert [event.labels for event in memory.events()] == [[7]]
    assert tap.stats().rejected == 1


def test_errors_of_the_function_are_its_own(tap: QueryTap) -> None:
    """What the function raises is passed on and not recorded."""

    @tapped(tap)
    def predict(images: Any) -> Any:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        inside(tap, lambda: predict([[1.0]]))
    assert tap.stats().recorded == tap.stats().rejected == 0


def test_a_function_without_arguments_cannot_be_tapped(tap: QueryTap) -> None:
    """Decorating something that is given no inputs is an error at once."""
    with pytest.raises(TypeError, match="takes no argument"):

        @tapped(tap)
        def predict() -> None:
            """Do nothing."""
