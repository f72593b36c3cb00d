"""`gamekeeper serve`: the online worker."""

from __future__ import annotations

import os

import click

from gamekeeper.stream.kafka import Settings
from gamekeeper.stream.worker.serve import serve as run


@click.command(
    epilog="Example: KAFKA_BOOTSTRAP_SERVERS=kafka:9092 GAMEKEEPER_DATA_DIR=/var/lib/gamekeeper "
    "gamekeeper serve"
)
def serve() -> None:
    """Watch the queries topic and write verdicts, until SIGTERM or Ctrl-C.

    A broker that is away is waited for.

    All settings come from the environment: GAMEKEEPER_PROFILE, GAMEKEEPER_DATA_DIR (one folder
    per worker), GAMEKEEPER_HTTP_PORT (one port per worker of a machine) and more; the reference
    lists them, as does `python -m pydoc gamekeeper.stream.kafka.settings`. Health is at /livez and
    /readyz, metrics at /metrics, on 127.0.0.1:6066. Logs go to stderr: GAMEKEEPER_LOG_FORMAT is
    json or console, GAMEKEEPER_LOG_LEVEL as in Python. Start more workers for more partitions.
    """
    run(Settings.from_env(os.environ))
