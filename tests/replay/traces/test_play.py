"""Traces through a real broker: what is played is what is recorded."""

from __future__ import annotations

import importlib
import math
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from gamekeeper.replay.cli.play import play as play_command
from gamekeeper.replay.cli.record import record as record_command
from gamekeeper.replay.traces import Manner, Played, Wanted, play, read_trace, record
from gamekeeper.schemas.errors import BrokerError
from gamekeeper.stream.kafka import Settings
from support.processes import spawned
from support.traces import events, sorted_rows, write_trace

pytestmark = pytest.mark.broker


def test_trace_to_topic_to_trace(settings: Settings, tmp_path: Path) -> None:
    """A trace that is played and recorded again has the same rows."""
    trace = write_trace(tmp_path / "a.parquet", events(), trace="t")
    played = play(settings, settings.topics.queries, [trace], Manner(speed=math.inf))
    assert (played.events, played.acknowledged) == (120, 120)
    again = tmp_path / "b.parquet"
    wanted = Wanted(queries=played.queries)
    recorded = record(settings, settings.topics.queries, again, wanted, trace="t", kind="benign")
    assert recorded.queries == played.queries == played.total
    assert sorted_rows(again).equals(sorted_rows(trace))


@pytest.mark.usefixtures("settings")
def test_commands_round_trip(environ: dict[str, str], tmp_path: Path) -> None:
    """The two commands move the shipped kind of trace there and back, and say how much."""
    trace = write_trace(tmp_path / "a.parquet", events())
    runner = CliRunner(env=environ)
    played = runner.invoke(play_command, [str(trace), "--speed", "max"])
    assert played.exit_code == 0, played.output
    assert "240 of 240 queries in 120 acknowledged events" in played.stdout
    again = tmp_path / "again.parquet"
    recorded = runner.invoke(record_command, ["--out", str(again), "--until-idle", "1.5"])
    assert recorded.exit_code == 0, recorded.output
    assert "240 queries in 120 events of 3 accounts" in recorded.stdout
    assert sorted_rows(again).equals(sorted_rows(trace))


class Clock:
    """A clock that goes on only where somebody waits for it."""

    def __init__(self) -> None:
        """Begin at 0."""
        self.now = 0.0

    def monotonic(self) -> float:
        """Tell the time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Wait."""
        self.now += seconds


def test_recorded_speed_is_kept(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At twice the speed, what took a second in the trace is sent over half of one."""
    clock = Clock()
    monkeypatch.setattr(importlib.import_module("gamekeeper.replay.traces.play"), "time", clock)
    trace = write_trace(tmp_path / "a.parquet", events(accounts=1, each=6, gap=200_000))
    sent: list[float] = []
    play(
        settings,
        settings.topics.queries,
        [trace],
        Manner(speed=2),
        advance=lambda played: sent.append(clock.now),
    )
    np.testing.assert_allclose(sent, [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.5], atol=1e-6)


def test_prefix_and_restamp(settings: Settings, tmp_path: Path) -> None:
    """A prefix makes other accounts, and restamping moves times to now."""
    trace = write_trace(tmp_path / "a.parquet", events(each=4))
    before = time.time_ns() // 1000
    manner = Manner(speed=math.inf, prefix="again-", restamp=True)
    played = play(settings, settings.topics.queries, [trace], manner)
    again = tmp_path / "b.parquet"
    record(settings, settings.topics.queries, again, Wanted(queries=played.queries))
    originals = {each.event.id: each.event for each in read_trace([trace])}
    copies = [each.event for each in read_trace([again])]
    assert len(copies) == len(originals) == 12
    for copy in copies:
        original = originals[copy.id.removeprefix("again-")]
        assert copy.account == "again-" + original.account
        assert copy.inputs == original.inputs
        assert before <= copy.time <= time.time_ns() // 1000


def test_topic_that_is_not_there(settings: Settings, tmp_path: Path) -> None:
    """Playing into a topic that does not exist fails and says how to create it."""
    trace = write_trace(tmp_path / "a.parquet", events(each=2))
    with pytest.raises(BrokerError, match="no topic missing-topic"):
        play(settings, "missing-topic", [trace], Manner(speed=math.inf))


def test_interrupt_delivers_what_was_sent(settings: Settings, tmp_path: Path) -> None:
    """An interrupted playing stops early, with all that it sent acknowledged."""
    trace = write_trace(tmp_path / "a.parquet", events())

    def interrupt(played: Played) -> None:
        if played.events == 10 and not played.interrupted:
            raise KeyboardInterrupt

    played = play(
        settings, settings.topics.queries, [trace], Manner(speed=math.inf), advance=interrupt
    )
    assert played.interrupted
    assert played.acknowledged == played.events == 10


def test_ctrl_c_ends_the_command(
    environ: dict[str, str], settings: Settings, tmp_path: Path
) -> None:
    """SIGINT ends `gamekeeper play` with code 130 and a count of what was delivered."""
    trace = write_trace(tmp_path / "a.parquet", events(accounts=1, each=2, gap=600_000_000))
    with spawned("play", trace, environ=environ) as process:
        again = tmp_path / "b.parquet"
        record(settings, settings.topics.queries, again, Wanted(queries=1, seconds=180))
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=180)
    assert process.returncode == 130, stderr
    assert "1 of 3 queries in 1 acknowledged events" in stdout


def test_speed_is_checked() -> None:
    """A speed that is neither positive nor `max` is refused."""
    for speed in ("0", "-1", "fast", "nan", "inf"):
        result = CliRunner().invoke(play_command, ["sample", "--speed", speed])
        assert result.exit_code == 2
        assert "neither a positive number nor `max`" in result.stderr
