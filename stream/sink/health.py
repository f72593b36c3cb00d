"""The sink's HTTP, where it is asked for: `/livez`, `/readyz` and `/metrics`.

`/readyz` is 200 while the sink has partitions, hears from Kafka and gets on with writing; else 503
with the reason. Nothing here changes anything; it listens on loopback unless it is told otherwise.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

from gamekeeper.schemas.errors import SettingsError
from gamekeeper.stream.kafka import Settings

Obstacle = Callable[[], str | None]
"""Says why the sink is not ready; None when it is."""
Answer = tuple[HTTPStatus, str, bytes]
PLAIN = "text/plain; charset=utf-8"


class Metrics:
    """What the sink counts, by topic; all names begin with `gamekeeper_sink_`."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.records = Counter(
            "gamekeeper_sink_records",
            "Records written and committed, those that cannot be read among them.",
            ["topic"],
            registry=registry,
        )
        self.lost = Counter(
            "gamekeeper_sink_records_lost",
            "Records that had expired before the sink read them; the table gaps has them.",
            ["topic"],
            registry=registry,
        )
        self.waiting = Gauge(
            "gamekeeper_sink_waiting",
            "1 while the sink has no partitions, hears nothing from Kafka or hangs in writing.",
            registry=registry,
        )
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)


@contextmanager
def served(settings: Settings, metrics: Metrics, obstacle: Obstacle) -> Iterator[None]:
    """Serve meanwhile, on its own threads, if there is a port; `SettingsError` if it is taken."""
    if not settings.sink_http_port:
        yield
        return
    host, port = settings.http_host, settings.sink_http_port
    try:
        server = ThreadingHTTPServer((host, port), _handler(metrics, obstacle))
    except OSError as error:
        raise SettingsError(
            f"GAMEKEEPER_SINK_HTTP_PORT={port}: cannot serve health on {host}:{port} "
            f"({error.strerror}); set it to a free port, or to 0 to serve none"
        ) from error
    thread = threading.Thread(target=server.serve_forever, name="sink-health", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(metrics: Metrics, obstacle: Obstacle) -> type[BaseHTTPRequestHandler]:
    def ready() -> Answer:
        why = obstacle()
        if why is None:
            return HTTPStatus.OK, PLAIN, b"ready\n"
        return HTTPStatus.SERVICE_UNAVAILABLE, PLAIN, f"{why}\n".encode()

    def measured() -> Answer:
        metrics.waiting.set(obstacle() is not None)
        return HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest(metrics.registry)

    pages: dict[str, Callable[[], Answer]] = {
        "/livez": lambda: (HTTPStatus.OK, PLAIN, b"alive\n"),
        "/readyz": ready,
        "/metrics": measured,
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = pages.get(self.path.partition("?")[0])
            status, kind, body = page() if page else (HTTPStatus.NOT_FOUND, PLAIN, b"not found\n")
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Keep requests out of the log."""

    return Handler
