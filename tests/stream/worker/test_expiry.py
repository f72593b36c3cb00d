"""Rows of accounts that are forgotten go; whoever comes back finds what he would find anyway."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from gamekeeper.detectors.engine import Arrival, DetectorProfile, Policy, Profile, resolve
from gamekeeper.schemas.event import QueryEvent, encode_event, event_key
from gamekeeper.schemas.tensor import Tensor
from gamekeeper.stream.kafka import EmbeddedBroker
from gamekeeper.stream.worker import expiry
from gamekeeper.stream.worker.changelog import Stored, Tenure, row_of
from gamekeeper.stream.worker.expiry import LATENESS, Expiry
from gamekeeper.stream.worker.local_stores import MemoryStore
from gamekeeper.stream.worker.row_codec import Row
from support.account_rows import KEY, Local, Rows, Run, arrivals, of, profile, write
from support.brokers import Broker, Names
from support.online import alarming, expected, found
from support.workers import Record, Worker, all_applied, prepare, read, send, wait_for

DAY = 24 * 3600 * 10**6
START = 10_000 * DAY
PATIENCE = 10 * DAY


def at(arrival: Arrival, when: int) -> Arrival:
    """Give an arrival another time."""
    return arrival._replace(event=msgspec.structs.replace(arrival.event, time=when))


def remembering() -> Profile:
    """Make a profile that forgets after ten days, and never alarms."""
    made = profile()
    quiet = tuple(msgspec.structs.replace(each, threshold=9.0) for each in made.detectors)
    policy = Policy(forget_after=PATIENCE / 10**6)
    return resolve(msgspec.structs.replace(made, detectors=quiet, policy=policy))


def stored(rows: Rows, *names: str, epoch: int = 1) -> None:
    """Store accounts that were seen last on the first day."""
    run = Run(rows, remembering(), epoch=epoch)
    for name in names:
        run.key = name, KEY[1]
        write(rows, run.take([at(of(each, name), START) for each in arrivals(60)])[1])


def looking(
    rows: Rows, now: int, hot: set[tuple[str, str]] = frozenset(), epoch: int = 2
) -> Expiry:  # type: ignore[assignment]
    """Make what looks, having seen an event of a time."""
    looks = Expiry(Local(rows), {0: Tenure(epoch, 0)}, lambda _: PATIENCE, hot.__contains__)
    looks.note(0, now)
    return looks


def test_rows_of_the_forgotten_go() -> None:
    """After the policy's time and a day, and not before; nobody else's."""
    rows: Rows = {}
    stored(rows, "ada", "bob")
    assert not looking(rows, START + PATIENCE + LATENESS).look()
    late = START + PATIENCE + LATENESS + 1
    write(rows, looking(rows, late, hot={("bob", KEY[1])}).look())
    assert {msgspec.msgpack.decode(key)[0] for key in rows} == {"bob"}
    write(rows, looking(rows, late).look())
    assert not rows


def test_the_suspected_stay() -> None:
    """Whose finding is open is not forgotten: an analyst has to close it."""
    rows: Rows = {}
    detectors = (DetectorProfile(detector="prada-v1", options={"growths": 16}, threshold=0.0),)
    latching = msgspec.structs.replace(remembering(), detectors=detectors)
    run = Run(rows, latching)
    write(rows, run.take([at(each, START) for each in arrivals(60)])[1])
    assert run.engine.accounts[KEY].open()
    assert not looking(rows, START + 1000 * DAY).look()


def test_a_clock_that_runs_ahead_makes_nobody_forgotten() -> None:
    """An event of the far future says nothing of today."""
    rows: Rows = {}
    run = Run(rows, remembering())
    write(rows, run.take([at(each, time.time_ns() // 1000) for each in arrivals(5)])[1])
    assert not looking(rows, 2**62).look()


@pytest.mark.parametrize("epoch", [1, 2])
def test_wherever_a_deletion_ends_the_account_begins_anew(epoch: int) -> None:
    """Any prefix of the rows survives; then it comes back at once, or is looked at again."""
    full: Rows = {}
    stored(full, "ada")
    late = START + PATIENCE + LATENESS + 1
    deletion = looking(full, late, epoch=epoch).look()
    assert [row.kind for row in deletion].count("header") == 1 < len(deletion)
    coming = [
        at(of(each, "ada"), late)._replace(source=each.source._replace(offset=99 + number))
        for number, each in enumerate(arrivals(50, seed=1))
    ]
    calm = Run({}, remembering())
    calm.key = "ada", KEY[1]
    truth, _ = calm.take(coming)
    for cut in range(len(deletion) + 1):
        rows = dict(full)
        write(rows, deletion[:cut])
        run = Run(rows, remembering(), epoch=3)
        run.key = "ada", KEY[1]
        told, written = run.take(coming)
        assert told == truth
        write(rows, written)
        again = Run(rows, remembering(), epoch=4)
        entry = again.store.open(run.key, coming[-1].source, rows.get)
        assert (entry.account.queries, entry.account.lost) == (150, {})
        assert {row.epoch for row in rows.values()} == {3}, "nothing is left of before"
        rest = dict(full)
        write(rest, deletion[:cut])
        write(rest, looking(rest, late, epoch=5).look())
        assert not rest


def test_all_accounts_are_looked_at_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few at a time, from the first again after the last; other rows are no accounts."""
    monkeypatch.setattr(expiry, "AT_ONCE", 2)
    rows: Rows = {b"life": Stored(1, b"x"), b"fence": Stored(1, b"x"), b"\x01": Stored(1, b"x")}
    names = ["ada", "bob", "cyd", "dan", "eve"]
    stored(rows, *names)
    looks = looking(rows, START)
    seen = [[key for key, _ in looks._headers(0)] for _ in range(4)]
    assert [len(each) for each in seen] == [2, 2, 1, 2]
    assert seen[0] == seen[3]
    looks.note(0, START + 1000 * DAY)
    for _ in range(4):
        write(rows, looks.look())
    assert len(rows) == 3


def test_a_memory_store_gives_its_rows_in_order() -> None:
    """Those of one partition, after a key."""
    store = MemoryStore.__new__(MemoryStore)
    store.data = {(0, b"c"): b"3", (0, b"a"): b"1", (1, b"b"): b"-", (0, b"d"): b"4"}
    assert store.scan(0, b"a", 2) == [(b"c", b"3"), (b"d", b"4")]
    assert store.scan(0, b"", 1) == [(b"a", b"1")]


def events(account: str, when: int, count: int, seed: int) -> Iterator[Record]:
    """Make events of two rows."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        event = QueryEvent(
            id=f"{account}-{seed}-{number}",
            account=account,
            model="digits",
            time=when + number,
            inputs=Tensor.from_array(rng.gamma(0.5, size=(2, 16)).astype(np.float32)),
            labels=rng.integers(0, 3, 2).tolist(),
        )
        yield event_key(account), encode_event(event)


def test_a_worker_forgets(broker: Broker, names: Names, tmp_path: Path) -> None:
    """The rows of a silent account are deleted in Kafka, and it comes back as a new one."""
    store = "memory" if isinstance(broker, EmbeddedBroker) else "rocksdb"
    environ = alarming(broker, names, tmp_path) | {"GAMEKEEPER_STORE": store}
    path = Path(environ["GAMEKEEPER_PROFILE"])
    policy = {"mode": "reset", "forget_after": 30 * DAY / 10**6}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"policy": policy}))
    settings = prepare(environ)
    with Worker(environ | {"GAMEKEEPER_HOT_ACCOUNTS": "1"}) as worker:
        send(settings, events("silent", START, 80, 0), partition=0)
        send(settings, events("busy", START, 80, 1), partition=0)

        def forgotten() -> bool:
            send(settings, events("busy", START + 40 * DAY, 1, 2), partition=0)
            return worker.metric("gamekeeper_accounts_forgotten_total") == 1

        wait_for(forgotten)
        worker.terminate()
        left = {row_of(each.key or b"")[1] for each in compacted(settings)}
        assert not [key for key in left if b"silent" in key]
        assert [key for key in left if b"busy" in key]
        worker.start()
        send(settings, events("silent", START + 41 * DAY, 80, 3), partition=0)
        wait_for(lambda: worker.ready() and all_applied(settings))
    truth = expected(settings)
    assert found(settings) == truth
    assert {"silent", "busy"} == {json.loads(each)["account"] for each in truth.values()}


def compacted(settings) -> list:  # type: ignore[no-untyped-def,type-arg]
    """Read the changelog as compaction leaves it."""
    latest = {each.key: each for each in read(settings, settings.changelog)}
    return [each for each in latest.values() if each.value is not None]


def test_deletions_say_whose_row_they_delete() -> None:
    """A header that an earlier owner wrote is deleted under both its keys."""
    rows: Rows = {}
    stored(rows, "ada", epoch=1)
    deletion = looking(rows, START + 100 * DAY, epoch=7).look()
    header = msgspec.msgpack.encode(("ada", KEY[1]))
    of_header: list[Row] = [row for row in deletion if row.key == header]
    assert [(row.kind, row.epoch) for row in of_header] == [
        ("header", 7),
        ("delete", 1),
        ("delete", 7),
    ]
