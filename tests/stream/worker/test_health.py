"""Health and metrics over HTTP."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gamekeeper.schemas.errors import SettingsError
from gamekeeper.stream.kafka import HOST
from gamekeeper.stream.worker.health import Health
from gamekeeper.stream.worker.metrics import Metrics
from support import ports


def ask(path: str, obstacle: Callable[[], str | None], metrics: Metrics) -> httpx.Response:
    """Serve, ask once, and stop."""

    async def inner() -> httpx.Response:
        port = ports.reserve()
        health = Health(metrics, obstacle, HOST, port)
        await health.start()
        try:
            async with httpx.AsyncClient(timeout=60) as client:
                return await client.get(f"http://{HOST}:{port}{path}")
        finally:
            await health.stop()

    return asyncio.run(inner())


def test_alive_whatever_the_obstacle() -> None:
    """A worker that is not ready is alive."""
    assert ask("/livez", lambda: "state is being restored", Metrics()).status_code == 200


def test_ready_says_why_not() -> None:
    """Readiness is 503 with the reason, or 200."""
    answer = ask("/readyz", lambda: "state is being restored", Metrics())
    assert (answer.status_code, answer.text) == (503, "state is being restored\n")
    assert ask("/readyz", lambda: None, Metrics()).status_code == 200


def test_metrics_are_prometheus_text() -> None:
    """Everything counted is there by its name, the lag per partition among it."""
    metrics = Metrics()
    metrics.watch_lag(lambda: {0: 7, 3: 0})
    metrics.events.labels("applied").inc(3)
    answer = ask("/metrics", lambda: "rebalancing", metrics)
    assert answer.headers["content-type"].startswith("text/plain")
    families = text_string_to_metric_families(answer.text)
    samples = {(s.name, *s.labels.values()): s.value for f in families for s in f.samples}
    assert samples["gamekeeper_events_total", "applied"] == 3
    assert samples["gamekeeper_consumer_lag", "0"] == 7
    assert samples["gamekeeper_consumer_lag", "3"] == 0
    assert samples["gamekeeper_recovering",] == 1
    for name in ("queries_total", "hot_accounts", "event_to_verdict_seconds_count"):
        assert (f"gamekeeper_{name}",) in samples
    for reason in ("schema", "key", "internal"):
        assert samples["gamekeeper_dead_letters_total", reason] == 0


def test_other_paths_are_not_there() -> None:
    """Nothing else is served."""
    assert ask("/table/state/alice", lambda: None, Metrics()).status_code == 404


def test_a_taken_port_is_said() -> None:
    """A port in use is an error that names the setting."""

    async def start(port: int) -> None:
        await Health(Metrics(), lambda: None, HOST, port).start()

    with (
        socket.create_server((HOST, 0)) as other,
        pytest.raises(SettingsError, match="GAMEKEEPER_HTTP_PORT"),
    ):
        asyncio.run(start(other.getsockname()[1]))
