"""The demo: the sample trace goes through the real tap, broker, worker and sink, on loopback.

Broker, worker and sink are processes of their own, as in production; only the broker is a small
one that keeps everything in memory.
"""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from gamekeeper.replay.demo.processes import Patience, Process, running
from gamekeeper.replay.tables.verdicts import from_tables
from gamekeeper.replay.traces import SAMPLE, TraceEvent, read_trace
from gamekeeper.replay.tune.calibration import SHIPPED
from gamekeeper.schemas.scores import decode_scores
from gamekeeper.schemas.verdict import Verdict, decode_verdict
from gamekeeper.stream.kafka import (
    EmbeddedBroker,
    Settings,
    TopicReader,
    apply,
    free_port,
    open_topic,
)
from gamekeeper.stream.tap import QueryTap

PARTITIONS = 4
TAP_ROOM = 5_000
"""Events in the tap's queue at which the demo waits; a model server would let the tap drop."""


@dataclass
class Watched:
    """One account: its kind from the trace, the rest as the topics and tables told it."""

    kind: str
    sent: int = 0
    scored: int = 0
    statistics: dict[str, float | None] = field(default_factory=dict)
    verdicts: list[Verdict] = field(default_factory=list)

    @property
    def caught(self) -> Verdict | None:
        """Give the first alarm."""
        return min(self.verdicts, key=lambda verdict: verdict.query, default=None)

    @property
    def alarmed(self) -> set[str]:
        """Name the detectors that alarmed."""
        return {verdict.detector for verdict in self.verdicts}

    @property
    def benign(self) -> bool:
        """Say whether the trace knows the account to be honest."""
        return self.kind == "benign"


Accounts = dict[str, Watched]
Show = Callable[[str, Accounts], None]
"""Called over and over with the step that is under way and the accounts; may raise to end it."""


class Report(NamedTuple):
    """How the demo ended: the accounts, and for how many seconds it ran."""

    accounts: Accounts
    seconds: float

    @property
    def missed(self) -> list[str]:
        """Name the attackers that were not caught."""
        return [name for name, a in self.accounts.items() if not a.benign and not a.verdicts]

    @property
    def false_alarms(self) -> list[str]:
        """Name the honest accounts that raised an alarm."""
        return [name for name, a in self.accounts.items() if a.benign and a.verdicts]


def run(folder: Path, seconds: float, show: Show) -> Report:
    """Run the demo, tables and logs in `folder`, the trace squeezed into `seconds`.

    Raises `ProcessError` where worker or sink fail, `BrokerError` where the broker does.
    """
    begun = time.monotonic()
    accounts: Accounts = {}
    with ExitStack() as stack:
        show("starting the broker", accounts)
        broker = stack.enter_context(EmbeddedBroker())
        environ = _environment(broker.address, folder)
        settings = Settings.from_env(environ)
        apply(settings)
        show("starting worker and sink", accounts)
        worker = stack.enter_context(running(["serve"], environ, folder))
        sink = stack.enter_context(running(["sink", "--out", str(folder)], environ, folder))
        _await_ready(worker, settings.http_port, show)
        scores, verdicts = (
            stack.enter_context(
                open_topic(settings, topic, "beginning", lambda news: show(str(news), accounts))
            )
            for topic in (settings.topics.scores, settings.topics.verdicts)
        )
        told: dict[str, Verdict] = {}
        for step in _steps(broker.address, seconds, accounts, worker):
            _take(scores, accounts)
            _listen(verdicts, told, accounts)
            worker.check()
            sink.check()
            show(step, accounts)
        while not verdicts.at_end():
            _listen(verdicts, told, accounts)
        _await_tables(folder, set(told), sink, lambda step: show(step, accounts))
        show("stopping worker and sink", accounts)
        worker.stop()
        sink.stop()
    # What the sink has written is what counts.
    for watched in accounts.values():
        watched.verdicts.clear()
    for verdict in from_tables(folder):
        _judge(accounts, verdict)
    return Report(accounts, time.monotonic() - begun)


def _environment(brokers: str, folder: Path) -> dict[str, str]:
    return {
        "KAFKA_BOOTSTRAP_SERVERS": brokers,
        "GAMEKEEPER_PARTITIONS": str(PARTITIONS),
        "GAMEKEEPER_PROFILE": str(SHIPPED),
        "GAMEKEEPER_SCORES": "true",
        "GAMEKEEPER_STORE": "memory",
        "GAMEKEEPER_DATA_DIR": str(folder / "state"),
        "GAMEKEEPER_HTTP_PORT": str(free_port()),
        # The embedded broker waits this long when a group forms.
        "GAMEKEEPER_SESSION_TIMEOUT": "6",
        "GAMEKEEPER_REBALANCE_TIMEOUT": "6",
        "GAMEKEEPER_SINK_SECONDS": "2",
    }


def _await_ready(worker: Process, port: int, show: Show) -> None:
    patience = Patience(worker, "did not become ready")
    while (answer := _readiness(port)) is not None:
        worker.check()
        patience.check(answer)
        show(f"starting worker and sink: {answer}", {})
        time.sleep(0.2)


def _readiness(port: int) -> str | None:
    """Say what the worker waits for; None when it is ready."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2):
            return None
    except urllib.error.HTTPError as error:
        return error.read().decode(errors="replace").strip()
    except OSError:
        return "loading"


def _steps(brokers: str, seconds: float, accounts: Accounts, worker: Process) -> Iterator[str]:
    """Send the traffic, then wait for its scores; yield now and then what is being done."""
    yield from _traffic(brokers, seconds, accounts, worker)
    patience = Patience(worker, "did not score all queries")
    while True:
        sent = sum(watched.sent for watched in accounts.values())
        scored = sum(watched.scored for watched in accounts.values())
        yield f"scoring: {scored} of {sent} queries"
        if scored >= sent:
            return
        patience.check(scored)


def _traffic(brokers: str, seconds: float, accounts: Accounts, worker: Process) -> Iterator[str]:
    """Tap the sample's events at a steady multiple of their own pace."""
    events = list(read_trace([SAMPLE]))
    origin, end = events[0].due, events[-1].due
    scale = seconds * 1e6 / max(1, end - origin)
    step = f"tapping an hour of traffic in {seconds:.0f} s"
    with QueryTap(brokers, model=events[0].event.model, source="/demo") as tap:
        begun = time.monotonic()
        for each in events:
            due = begun + (each.due - origin) * scale / 1e6
            while time.monotonic() < due:
                yield step
            yield from _drained(tap, TAP_ROOM, worker)
            _record(tap, each)
            watched = accounts.setdefault(each.event.account, Watched(each.kind or "benign"))
            watched.sent += len(each.event)
        yield from _drained(tap, 1, worker)


def _drained(tap: QueryTap, room: int, worker: Process) -> Iterator[str]:
    """Wait until the tap holds fewer events than `room`."""
    patience = Patience(worker, "runs, but the broker takes no events")
    while (queued := tap.stats().queued_events) >= room:
        patience.check(queued)
        yield f"sending: {queued} events wait in the tap"


def _record(tap: QueryTap, each: TraceEvent) -> None:
    event = each.event
    tap.record(event.account, event.inputs.array(), event.labels, time=event.time, id=event.id)


def _take(scores: TopicReader, accounts: Accounts) -> None:
    """Bring the accounts up to what the scores topic says."""
    for record in scores.poll():
        if record.value is None:
            continue
        told = decode_scores(record.value)
        watched = accounts[told.account]
        watched.statistics = {name: values[-1] for name, values in told.statistics.items()}
        watched.scored += max(map(len, told.statistics.values()))


def _judge(accounts: Accounts, verdict: Verdict) -> None:
    """Keep what opened a finding."""
    if verdict.activity == "create":
        accounts[verdict.account].verdicts.append(verdict)


def _listen(verdicts: TopicReader, told: dict[str, Verdict], accounts: Accounts) -> None:
    """Bring the accounts up to what the verdicts topic says; `told` keeps each once."""
    for record in verdicts.poll():
        verdict = decode_verdict(record.value or b"")
        if told.setdefault(verdict.id, verdict) is verdict:
            _judge(accounts, verdict)


def _await_tables(
    folder: Path, wanted: set[str], sink: Process, show: Callable[[str], None]
) -> None:
    """Wait until the sink has written all verdicts."""
    patience = Patience(sink, "did not write all verdicts")
    while left := wanted.difference(each.id for each in from_tables(folder)):
        sink.check()
        patience.check(len(left))
        show(f"writing: {len(wanted) - len(left)} of {len(wanted)} verdicts are in the tables")
        time.sleep(0.2)
