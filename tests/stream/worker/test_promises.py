"""Promises held against the worker's accounts: what is noted, what is told, and what is not."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import structlog.testing

from gamekeeper.detectors.drift import WINDOW, Judged
from gamekeeper.detectors.engine import (
    Arrival,
    DetectorProfile,
    Policy,
    Profile,
    Promise,
    Source,
    resolve,
)
from gamekeeper.schemas.event import QueryEvent, encode_event, event_key
from gamekeeper.schemas.tensor import Tensor
from gamekeeper.stream.worker import promises
from gamekeeper.stream.worker.changelog import Tenure
from gamekeeper.stream.worker.engines import Engines
from gamekeeper.stream.worker.metrics import Metrics, PromiseStanding
from gamekeeper.stream.worker.noting import counts
from gamekeeper.stream.worker.promises import HOLDS, SUSPENDED, Promises
from gamekeeper.stream.worker.row_codec import Noted
from gamekeeper.stream.worker.rulings import ruled_by
from support.account_rows import KEY, Local, Rows, Run, arrivals, of
from support.brokers import Broker, Names
from support.online import expected, found
from support.verdict_tables import make_verdict
from support.workers import Record, Worker, environ_for, prepare, send, wait_for

PROMISE = Promise(alpha=0.01, accounts=99, life=1000)
ALARMING = (DetectorProfile(detector="prada", threshold=0.0),)


def promising(promise: Promise = PROMISE) -> Profile:
    """Make a profile that alarms whenever it can, and promises that it seldom does."""
    return resolve(Profile(name="promising", detectors=ALARMING, promise=promise))


@dataclass
class Bench:
    """What watches promises, over rows, with a profile that rules."""

    rows: Rows = field(default_factory=dict)
    profile: Profile = field(default_factory=promising)

    def __post_init__(self) -> None:
        """Let the profile rule partition 0."""
        self.run = Run(self.rows, self.profile)
        self.engines = Engines(self.run.engine)
        self.engines.rulings[0] = ruled_by(self.profile.hash, 0)
        tenures = {0: Tenure(1, 0)}
        self.watch = Promises(Local(self.rows), tenures, self.engines, Metrics())

    def read(self) -> None:
        """Read what is stored, to the end."""
        while self.watch.unread():
            self.watch.take(self.watch.look())

    def standing(self) -> PromiseStanding | None:
        """Judge at once, and say how the promise stands for the one model."""
        self.watch._next = 0.0
        return next(iter(self.watch.standings()), None)

    def take(self, accounts: Iterable[tuple[int, bool]]) -> None:
        """Take in accounts, numbered by the time of their only query, who alarm or do not."""
        for number, alarms in accounts:
            judged = Judged(number, number, 1)
            if alarms:
                judged = judged._replace(found=0, found_at=number, kind="theft")
            self.watch.take([((f"account-{number}", "digits"), self.noted(judged))])

    def noted(self, judged: Judged) -> Noted:
        """Note it under the profile."""
        return Noted(self.profile.hash, 0, judged)


def score(run: Run, batch: list[Arrival]) -> Noted | None:
    """Score and store one account's batch; give what is noted of it."""
    entry = run.store.open(run.key, batch[0].source, run.rows.get)
    outcomes = run.engine.process(batch)
    entry.offset = batch[-1].source.offset
    entry.note(outcomes)
    run.keep(list(entry.rows()))
    return entry.noted


@pytest.mark.parametrize("size", [1, 7, 80])
def test_what_is_noted_is_the_same_in_any_batches_and_after_any_restart(size: int) -> None:
    """It counts an account's queries, and tells its first finding and when that was."""
    events = arrivals(80)
    rows: Rows = {}
    for start in range(0, len(events), size):
        noted = score(Run(rows, promising()), events[start : start + size])
    assert noted is not None
    assert noted.judged.found is not None
    event = events[noted.judged.found // 3]
    assert noted == Noted(
        promising().hash,
        0,
        Judged(0, 79, 240, noted.judged.found, event.event.time, "variants"),
    )


def test_only_the_first_finding_is_noted() -> None:
    """Where each alarm is a finding of its own, the account's life alarmed with the first."""
    often = msgspec.structs.replace(promising(), policy=Policy(mode="reset"))
    run, events = Run({}, often), arrivals(160)
    first = score(run, events[:80])
    assert first is not None
    assert first.judged.found is not None
    entry = run.store.hot(run.key)
    outcomes = run.engine.process(events[80:])
    assert any(outcome.verdicts for outcome in outcomes)
    entry.note(outcomes)
    assert entry.noted is not None
    assert entry.noted.judged.found == first.judged.found


def test_another_profile_and_a_new_beginning_begin_to_count_anew() -> None:
    """What an account did under an earlier promise is not held against this one; nor for ever."""
    rows: Rows = {}
    events = arrivals(80)
    score(Run(rows, promising()), events[:50])
    other = promising(msgspec.structs.replace(PROMISE, alpha=0.02))
    noted = score(Run(rows, other), events[50:])
    assert noted == Noted(other.hash, 150, Judged(50, 79, 90))  # its finding was opened before
    run = Run({}, other)
    score(run, events[:5])
    late = msgspec.structs.replace(events[0].event, time=10**16)
    noted = score(run, [Arrival(late, Source("queries", 0, 90))])
    assert noted == Noted(other.hash, 0, Judged(10**16, 10**16, 3))


def test_nothing_is_noted_where_nothing_is_promised() -> None:
    """A profile that was not calibrated has no promise to be suspended."""
    bench = Bench(profile=promising(Promise()))
    assert score(bench.run, arrivals(60)) is None
    bench.read()
    bench.take([(number, True) for number in range(50)])
    assert bench.standing() is None


def test_many_alarms_suspend_and_honest_accounts_let_it_hold_again() -> None:
    """Each change is logged once, with what it rests on."""
    bench = Bench()
    bench.read()
    with structlog.testing.capture_logs() as logs:
        bench.take((number, number == 40) for number in range(100))
        assert (standing := bench.standing()) is not None
        assert (standing.lives, standing.suspended) == (100, False)
        bench.take((number, True) for number in range(100, 112))
        assert (standing := bench.standing()) is not None
        assert standing.suspended
        assert standing.alarmed == {"theft": 13, "variants": 0, "other data": 0, "load": 0}
        bench.take((number, False) for number in range(112, 600))
        assert (standing := bench.standing()) is not None
        assert not standing.suspended
    told = [(each["event"], each["model"], each["lives"]) for each in logs]
    assert told[0] == (SUSPENDED, "digits", 12)
    assert [event for event, *_ in told] == [SUSPENDED, HOLDS]
    assert logs[0]["alarmed"] == {"theft": 12}


def test_an_account_is_counted_once_however_often_it_comes() -> None:
    """Its late finding counts for the life in which it came."""
    bench = Bench()
    bench.read()
    for queries in (1, 500, 900):
        bench.take([])
        bench.watch.take([(KEY, bench.noted(Judged(0, queries, queries)))])
    late = Judged(0, 999, 999, 950, 950, "load")
    bench.watch.take([(KEY, bench.noted(late))] * 2)
    assert (standing := bench.standing()) is not None
    assert (standing.lives, standing.alarmed["load"]) == (1, 1)


def test_only_the_latest_lives_are_kept() -> None:
    """Memory is bounded, and older accounts that come again are not counted as new ones."""
    bench = Bench()
    bench.read()
    bench.take((number, False) for number in range(5 * WINDOW))
    bench.take((number, True) for number in range(100))
    assert (standing := bench.standing()) is not None
    assert standing.lives == WINDOW
    assert sum(standing.alarmed.values()) == 0
    assert len(bench.watch._latest.popitem()[1]._lives) <= 2 * WINDOW


def test_a_clock_that_runs_ahead_hides_nobody() -> None:
    """Accounts of a century to come are as old as the moment in which they came."""
    bench = Bench()
    bench.read()
    ahead = 10**16
    for number in range(3 * WINDOW):
        judged = Judged(ahead + number, ahead + number, 1)
        bench.watch.take([((f"ahead-{number}", "digits"), bench.noted(judged))])
    now = time.time_ns() // 1000
    bench.take((now + number, True) for number in range(20))
    assert (standing := bench.standing()) is not None
    assert standing.suspended


def test_of_one_account_only_the_latest_lives_are_taken() -> None:
    """One that has sent thousands of millions of queries takes no longer than another."""
    bench = Bench(
        profile=promising(
            msgspec.structs.replace(PROMISE, beyond_queries=10**6, beyond_interval=(0.0, 4.0))
        )
    )
    bench.read()
    bench.watch.take([(KEY, bench.noted(Judged(0, 10**15, 10**13)))])
    assert (standing := bench.standing()) is not None
    assert standing.lives == WINDOW


def test_models_that_are_followed_are_bounded() -> None:
    """Whoever makes models up fills no memory."""
    bench = Bench()
    bench.read()
    for number in range(3 * promises.MOST):
        bench.watch.take([(("a", f"model-{number}"), bench.noted(Judged(0, 0, 1)))])
    bench.standing()
    assert len(bench.watch.standings()) == promises.MOST


def test_after_a_start_all_that_is_stored_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is said before all headers are read, whatever comes meanwhile; damage is passed."""
    monkeypatch.setattr(promises, "AT_ONCE", 4)
    bench = Bench()
    for number in range(15):
        bench.run.key = f"account-{number}", KEY[1]
        score(bench.run, [of(each, bench.run.key[0]) for each in arrivals(50)])
    broken = msgspec.msgpack.encode(("account-3", KEY[1]))
    bench.rows[broken] = bench.rows[broken]._replace(data=b"\x00")
    again = Bench(rows=bench.rows)
    found = again.noted(Judged(0, 100, 100, 99, 50, "theft"))
    with structlog.testing.capture_logs() as logs:
        again.watch.take([((f"account-{number}", KEY[1]), found) for number in range(13)])
        assert again.standing() is None
    assert not logs
    again.read()
    assert (standing := again.standing()) is not None
    assert (standing.lives, standing.suspended) == (15, True)
    again.watch.clear()
    assert again.watch.unread()
    assert again.standing() is None


def test_a_new_profile_begins_with_a_promise_that_holds() -> None:
    """What the one before promised is told no longer."""
    bench = Bench()
    bench.read()
    bench.take((number, True) for number in range(20))
    assert (standing := bench.standing()) is not None
    assert standing.suspended
    new = promising(msgspec.structs.replace(PROMISE, alpha=0.02))
    bench.engines.add(new.hash, Run({}, new).engine)
    bench.engines.rulings[0] = bench.engines.rulings[0].take(5, new.hash)
    assert bench.standing() is None


def records(first: int, count: int, rows: int) -> list[Record]:
    """Make accounts of one request each; of 150 rows, it alarms."""
    rng = np.random.default_rng(first)
    events = [
        QueryEvent(
            id=str(number),
            account=f"account-{number}",
            model="digits",
            time=number * 1000,
            inputs=Tensor.from_array(rng.gamma(0.5, size=(rows, 4)).astype(np.float32)),
            labels=rng.integers(0, 2, rows).tolist(),
        )
        for number in range(first, first + count)
    ]
    return [(event_key(each.account), encode_event(each)) for each in events]


@pytest.mark.broker
def test_a_worker_tells_and_changes_no_verdict(
    broker: Broker, names: Names, tmp_path: Path
) -> None:
    """Accounts of before a restart count with those after it; verdicts are as offline."""
    profile = tmp_path / "profile.json"
    made: dict[str, Any] = msgspec.to_builtins(promising())
    profile.write_text(json.dumps(made))
    environ = environ_for(broker.address, names.environ, tmp_path / "data")
    environ |= {"GAMEKEEPER_PROFILE": str(profile), "GAMEKEEPER_PARTITIONS": "1"}
    settings = prepare(environ)
    send(settings, [*records(0, 30, 1), *records(30, 1, 150)])
    with Worker(environ) as worker:
        wait_for(lambda: worker.metric("gamekeeper_promise_lives") == 31)
        assert worker.metric("gamekeeper_promise_lives_alarmed", kind="variants") == 1
        assert worker.metric("gamekeeper_promise_suspended") == 0
        assert worker.terminate() == 0
        send(settings, records(31, 14, 150))
        worker.start()
        wait_for(lambda: worker.metric("gamekeeper_promise_suspended", model="digits") == 1)
        wait_for(lambda: worker.metric("gamekeeper_promise_lives") == 45)
        lines = worker.logged().splitlines()
        [told] = [json.loads(line) for line in lines if SUSPENDED in line]
        assert (told["level"], told["model"]) == ("warning", "digits")
        assert worker.terminate() == 0
    assert found(settings) == expected(settings)


@pytest.mark.parametrize(
    ("changes", "counted"),
    [
        ({}, True),
        ({"severity": "low"}, False),
        ({"detector": "declared"}, False),
        ({"activity": "update"}, False),
        ({"profile": "another"}, False),
    ],
)
def test_alarms_that_a_promise_is_about(changes: dict[str, str], counted: bool) -> None:
    """What people have declared of an account is none, nor is what was opened before."""
    plain = {"activity": "create", "profile": "mine", "severity": "high"}
    verdict = msgspec.structs.replace(make_verdict("ada", 4, "create"), **plain | changes)
    assert counts(verdict, "mine") == counted
