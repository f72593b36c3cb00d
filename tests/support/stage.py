"""Workers and sinks over topics of their own: what is disturbed while a trace is played."""

from __future__ import annotations

import json
import sys
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from gamekeeper.stream.kafka import Settings
from support.comparison import Comparison, compare, on_topic, written
from support.processes import Service
from support.workers import Worker, all_applied, all_read, environ_for, prepare, wait_for

MINUTES = 10 * 60.0
"""Seconds for what a whole trace takes after its last fault; only what fails takes so long."""


class Outcome(NamedTuple):
    """What was found in the topic and in the tables; a topic may have a verdict twice, no table.

    `ended` processes ended by themselves, and were started again.
    """

    topic: Comparison
    tables: Comparison
    ended: int

    @property
    def good(self) -> bool:
        """Whether both have the undisturbed run's verdicts."""
        return self.topic.same and self.tables.same and not self.tables.repeated


class Stage:
    """Workers and sinks of one app; leaving the context kills them."""

    def __init__(
        self,
        address: str,
        folder: Path,
        profile: Path,
        *,
        workers: int = 1,
        sinks: int = 1,
        sink_options: tuple[str, ...] = (),
        **variables: str,
    ) -> None:
        """Make the topics; `variables` are the workers' further settings."""
        self.topic = f"queries-{uuid.uuid4().hex[:8]}"
        self._address, self._folder = address, folder
        self._common = {
            # There are more processes than cores: none waits for threads that wait for a core.
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "GAMEKEEPER_PROFILE": str(profile),
            "GAMEKEEPER_TOPIC_QUERIES": self.topic,
            "GAMEKEEPER_SINK_SECONDS": "0.5",
            **variables,
        }
        environs = [self._environ("disturbed", f"worker-{each}") for each in range(workers)]
        self.settings: Settings = prepare(environs[0])
        self.tables = folder / "tables"
        program = Path(sys.executable).with_name("gamekeeper")
        command = [program, "sink", "--out", self.tables, *sink_options]
        self.workers = [Worker(environ) for environ in environs]
        self.sinks = [Service(command, environs[0]) for _ in range(sinks)]
        self.ended = 0
        self._stack = ExitStack()

    @property
    def services(self) -> list[Service]:
        """All of its processes."""
        return [*self.workers, *self.sinks]

    def __enter__(self) -> Stage:
        """Start all."""
        with ExitStack() as stack:
            for service in self.services:
                stack.enter_context(service)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """End all, their logs beside what they wrote."""
        for number, service in enumerate(self.services):
            (self._folder / f"{type(service).__name__}-{number}.log").write_text(service.logged())
        self._stack.close()

    def calm(self) -> bool:
        """Say whether all workers are ready and the sinks have written what there is."""
        self._revive()
        return all(worker.ready() for worker in self.workers) and self._written()

    def some_ready(self) -> bool:
        """Say whether a worker is ready."""
        self._revive()
        return any(worker.ready() for worker in self.workers)

    def _revive(self) -> None:
        """Start processes that have ended by themselves again, as whoever runs them does."""
        for service in self.services:
            if not service.alive():
                self.ended += 1
                service.start()

    def _written(self) -> bool:
        [path] = self.tables.glob("sink.json") or [None]
        group = json.loads(path.read_text())["group"] if path else ""
        return bool(group) and all_read(self.settings, self.settings.topics.verdicts, group)

    def compare(self) -> Outcome:
        """Wait until all is applied and written; compare with an undisturbed run's verdicts."""
        wait_for(lambda: self.calm() and all_applied(self.settings) and self._written(), MINUTES)
        for service in self.services:
            service.kill()
        environ = self._environ("undisturbed", "undisturbed")
        settings = prepare(environ)
        with Worker(environ):
            wait_for(lambda: all_applied(settings), MINUTES)
        truth = on_topic(settings)
        return Outcome(
            compare(truth, on_topic(self.settings)),
            compare(truth, written(self.tables)),
            self.ended,
        )

    def _environ(self, kind: str, folder: str) -> dict[str, str]:
        names = {
            "GAMEKEEPER_APP_ID": f"{kind}-{self.topic}",
            "GAMEKEEPER_TOPIC_VERDICTS": f"verdicts-{kind}-{self.topic}",
            "GAMEKEEPER_TOPIC_SCORES": f"scores-{kind}-{self.topic}",
            "GAMEKEEPER_TOPIC_DEAD_LETTERS": f"dead-letters-{kind}-{self.topic}",
            "GAMEKEEPER_TOPIC_PROFILES": f"profiles-{kind}-{self.topic}",
        }
        return environ_for(self._address, {**self._common, **names}, self._folder / folder)
