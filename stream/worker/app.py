"""The Faust app: an ordinary one, run by `gamekeeper serve` or by Faust's own command.

    faust -A gamekeeper.stream.worker.app worker

Settings come from the environment, see `gamekeeper.stream.kafka`. Every agent, topic and table is
named here, so that names do not follow import paths. Delivery is at least once with one agent
at concurrency 1; Faust's own web server, with its table pages, is never started.
"""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import Any

import faust
import faust.app

from gamekeeper.detectors.engine import Engine, check_thresholds, default_profile
from gamekeeper.stream.kafka import STATE_TABLE, Settings
from gamekeeper.stream.logs import configure
from gamekeeper.stream.profile_files import load_networks, load_profile
from gamekeeper.stream.worker.cluster import Cluster
from gamekeeper.stream.worker.consumer import Transport
from gamekeeper.stream.worker.creation import forbid_creation
from gamekeeper.stream.worker.health import Health
from gamekeeper.stream.worker.leaving import leave_soon
from gamekeeper.stream.worker.local_stores import MEMORY, ROCKSDB
from gamekeeper.stream.worker.metrics import Metrics
from gamekeeper.stream.worker.restoring import TableManager
from gamekeeper.stream.worker.worker import Watcher

# Below the 1 MiB that a broker takes as one batch by default. All records of a partition that wait
# to be sent share one batch, so the client's default of 16 KiB would make one request per segment.
MAX_PRODUCER_BATCH = 900_000
# Per partition and request: a few batches' worth, so that work does not wait for each fetch.
MAX_FETCH = 4 * 2**20
# A dead letter is as large as what came in, and that was as large as the topic allowed.
MAX_REQUEST = 64 * 2**20
# A broker that lost its power answers nothing and closes no connection: after so long the worker
# ends, and another start finds the partition's new leader. Faust's default is 20 minutes.
WRITE_SECONDS = 300.0
# How long a thread runs before another one gets its turn. With Python's 5 ms, the event loop and
# the scoring thread changed places so often, and waited for a core each time, that scoring took two
# to three times its processor's time on two busy cores. Health is answered within a few turns.
TURN_SECONDS = 0.02
# RocksDB, per partition. Faust's defaults would take 2 GiB of cache and 192 MiB of buffers each.
ROCKSDB_OPTIONS = {
    "block_cache_size": 16 * 2**20,
    "write_buffer_size": 16 * 2**20,
    "max_write_buffer_number": 2,
    "target_file_size_base": 32 * 2**20,
    "max_open_files": 256,
}


class BootStrategy(faust.app.BootStrategy):  # type: ignore[misc]  # Faust is not followed by mypy
    """Starts what the worker needs; never Faust's web server, whatever its command line says."""

    enable_web = False


class QuietMonitor(faust.Monitor):  # type: ignore[misc]  # Faust is not followed by mypy
    """Faust's monitor without its counts of every message and event: nobody reads them here."""

    def on_message_in(self, *_: object) -> None:
        """Do nothing."""

    def on_stream_event_in(self, *_: object) -> None:
        """Do nothing."""


class Worker(faust.Worker):  # type: ignore[misc]  # Faust is not followed by mypy
    """Faust's worker, which ends when everything has stopped, and not a second later."""

    async def _sentinel_task(self) -> None:
        """Do nothing."""


class GamekeeperApp(faust.App):  # type: ignore[misc]  # Faust is not followed by mypy
    """The app, with health served from the first moment and a last micro-batch finished."""

    BootStrategy = BootStrategy
    watcher: Watcher
    health: Health
    cluster: Cluster

    async def on_first_start(self) -> None:
        """Serve health before state is restored: that can take long."""
        await super().on_first_start()
        # Modules live for ever, and a batch's objects die together without a cycle: to walk over
        # all of them again and again takes some percent of the time and finds nothing.
        gc.freeze()
        gc.set_threshold(100_000, 50, 100)
        sys.setswitchinterval(TURN_SECONDS)
        await self.add_runtime_dependency(self.health)
        await self.add_runtime_dependency(self.cluster)

    def obstacle(self) -> str | None:
        """Say why the worker is not ready; None when it is."""
        return self.cluster.obstacle() or self.watcher.obstacle()

    async def on_stop(self) -> None:
        """Finish the running micro-batch while the stores and the producer still work."""
        await self.watcher.close()
        leave_soon(self.cluster.status or int(self.crash_reason is not None))
        await super().on_stop()


def build(settings: Settings) -> GamekeeperApp:
    """Build the app; `ProfileError` where the profile is not usable."""
    forbid_creation()
    app = GamekeeperApp(settings.app_id, **_options(settings))
    app.transport = Transport(app.conf.broker_consumer, app)
    metrics = Metrics()
    queries = app.topic(
        settings.topics.queries,
        key_type=bytes,
        value_type=bytes,
        key_serializer="raw",
        value_serializer="raw",
        allow_empty=True,
    )
    table = app.Table(
        STATE_TABLE,
        key_type=bytes,
        value_type=bytes,
        partitions=settings.partitions,
        options=dict(ROCKSDB_OPTIONS) if settings.store == "rocksdb" else None,
    )
    app.watcher = Watcher(app, table, settings, _engine(settings), metrics)
    app.cluster = Cluster(settings)
    app.health = Health(metrics, app.obstacle, settings.http_host, settings.http_port)
    metrics.watch_lag(app.watcher.lag)

    @app.agent(queries, name="gamekeeper.watch", concurrency=1)  # type: ignore[untyped-decorator]
    async def watch(stream: Any) -> None:
        await app.watcher.run(stream)

    @table.on_recover  # type: ignore[untyped-decorator]
    async def hold() -> None:
        # When state is restored, Faust first lets records come, then seeks to the committed
        # offsets, and then empties the queues: what had come meanwhile is lost, or acknowledged
        # out of order. Faust itself starts the flow again after that.
        app.consumer.stop_flow()
        app.watcher.tenures.restored()

    @app.on_partitions_revoked.connect  # type: ignore[untyped-decorator]
    async def release(*_: object, **__: object) -> None:
        await app.watcher.release()

    return app


def _options(settings: Settings) -> dict[str, Any]:
    return {
        "broker": ";".join(f"kafka://{each}" for each in settings.brokers.split(",")),
        "broker_credentials": settings.security.for_faust(),
        "broker_session_timeout": settings.session_timeout,
        "broker_rebalance_timeout": settings.rebalance_timeout,
        "broker_heartbeat_interval": settings.heartbeat,
        # Faust wants it to be at least the session timeout.
        "broker_request_timeout": max(60.0, settings.session_timeout),
        "broker_commit_interval": 1.0,
        "store": f"{MEMORY if settings.store == 'memory' else ROCKSDB}://",
        "datadir": settings.data_dir,
        "topic_partitions": settings.partitions,
        "topic_replication_factor": settings.replication,
        # Nobody follows the partitions of others. Faust empties the queue of what was followed when
        # the worker's own partitions are restored: rows would be missing that it takes for applied.
        "table_standby_replicas": 0,
        "consumer_max_fetch_size": MAX_FETCH,
        "producer_request_timeout": WRITE_SECONDS,
        "producer_max_batch_size": MAX_PRODUCER_BATCH,
        "producer_max_request_size": MAX_REQUEST,
        # The watcher itself waits for its batch when partitions move; Faust would wait for events
        # that are not going to be acknowledged.
        "stream_wait_empty": False,
        "cython_optimizations": True,
        "Monitor": QuietMonitor,
        "TableManager": TableManager,
        "Worker": Worker,
        "worker_redirect_stdouts": False,
        "topic_disable_leader": True,
        "topic_allow_declare": False,  # `gamekeeper topics apply` makes them, and nobody else
        "autodiscover": False,
        "web_enabled": False,
        "web_tables_enabled": False,
        "web_router_enabled": False,
        "logging_config": configure(os.environ),
    }


def _engine(settings: Settings) -> Engine:
    if not settings.profile:
        return Engine(default_profile())
    path = Path(settings.profile)
    profile = check_thresholds(load_profile(path))
    return Engine(profile, load_networks(profile, path.parent))


def __getattr__(name: str) -> Any:
    """Build `app` when it is first asked for, so that importing this module reads no settings."""
    if name != "app":
        raise AttributeError(name)
    app = globals()["app"] = build(Settings.from_env(os.environ))
    return app
