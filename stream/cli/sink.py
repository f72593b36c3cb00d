"""`gamekeeper sink`: verdicts, scores and queries to Parquet."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import click

from gamekeeper.stream.kafka import Settings


@click.command(epilog="Example: gamekeeper sink --out /srv/gamekeeper --queries")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the tables; GAMEKEEPER_DATA_DIR. Sinks that share the work share it.",
)
@click.option("--queries", is_flag=True, help="Write the queries, too, with their tensors.")
@click.option("--scores", is_flag=True, help="Write the scores, too, if the service sends them.")
def sink(out: Path | None, queries: bool, scores: bool) -> None:
    """Write verdicts to Parquet, until SIGTERM or Ctrl-C; `gamekeeper sql` reads them.

    A folder is filled from the topics' beginning and goes on where it stopped. Each verdict is in
    it once, whatever was killed meanwhile. Records that cannot be read go to DIR/rejected. A broker
    that is away is waited for.
    """
    from gamekeeper.stream.logs import configure  # nothing of this is needed to print help
    from gamekeeper.stream.sink import Lane, QueryLane, ScoreLane, Sink, VerdictLane

    configure(os.environ)
    settings = Settings.from_env(os.environ)
    topics: dict[str, type[Lane]] = {settings.topics.verdicts: VerdictLane}
    if queries:
        topics[settings.topics.queries] = QueryLane
    if scores:
        topics[settings.topics.scores] = ScoreLane
    stopped = threading.Event()
    work = Sink(settings, out or settings.data_dir, topics, stopped)

    def stop(*_: object) -> None:
        stopped.set()
        if not work.begun:  # there is nothing in hand yet, and connecting may take its time
            raise KeyboardInterrupt

    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, stop)
    work.run()
