"""The worker's HTTP: `/livez`, `/readyz` and `/metrics`.

`/livez` answers as long as the event loop turns: what restarts a hung process. `/readyz` is 200
while the worker sees all that it is to watch, 503 with the reason while it does not. Nothing here
changes anything, but metrics tell who is watched how much; so it listens on loopback unless it is
told otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiohttp import web
from mode import Service
from prometheus_client import CONTENT_TYPE_LATEST

from gamekeeper.schemas.errors import SettingsError
from gamekeeper.stream.worker.metrics import Metrics

Obstacle = Callable[[], str | None]
"""Says why the worker is not ready; None when it is."""


class Health(Service):  # type: ignore[misc]  # mode has no types that mypy follows
    """Serves health and metrics while the worker runs, from its first moment to its last."""

    def __init__(
        self, metrics: Metrics, obstacle: Obstacle, host: str, port: int, **options: Any
    ) -> None:
        self._metrics = metrics
        self._obstacle = obstacle
        self._host = host
        self._port = port
        self._runner: web.AppRunner | None = None
        super().__init__(**options)

    async def on_start(self) -> None:
        """Listen; `SettingsError` where the port is taken."""
        site = web.Application()
        site.router.add_get("/livez", self._livez)
        site.router.add_get("/readyz", self._readyz)
        site.router.add_get("/metrics", self._serve_metrics)
        self._runner = web.AppRunner(site, access_log=None)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as error:
            raise SettingsError(
                f"cannot serve health on {self._host}:{self._port}: {error.strerror}; "
                "set GAMEKEEPER_HTTP_PORT to a free port"
            ) from error

    async def on_stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _livez(self, _: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        obstacle = self._obstacle()
        if obstacle is None:
            return web.Response(text="ready\n")
        return web.Response(status=503, text=f"{obstacle}\n")

    async def _serve_metrics(self, _: web.Request) -> web.Response:
        self._metrics.recovering.set(self._obstacle() is not None)
        body = self._metrics.text()
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})
