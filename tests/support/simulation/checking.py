"""What must hold when a simulation has ended."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import structlog.testing
from aiokafka.errors import KafkaError

from gamekeeper.detectors.engine import Source
from gamekeeper.schemas.verdict import decode_verdict
from gamekeeper.stream.worker.account_rows import Entry
from gamekeeper.stream.worker.changelog import Tenure, changes, stored
from gamekeeper.stream.worker.cluster import REMADE
from gamekeeper.stream.worker.row_codec import header_key
from support.simulation.broker import Log, Record
from support.simulation.guard import WrongEndError
from support.simulation.schedule import Simulation
from support.simulation.traffic import BROKEN, MODEL, PROFILE, Truth, toy, truth, valid

FORBIDDEN = ("stored state is not readable; account begins anew", "scoring failed; isolating")


def simulate(
    seed: int, say: Callable[[str], None] = lambda text: None, only: Collection[str] = ()
) -> Simulation:
    """Run the simulation of a seed and check it; `say` is told step by step what happens.

    Raises `WrongEndError`, or whatever the worker's code raises where nothing may be.
    """
    with toy():
        run = Simulation(seed, say, only)
        try:
            run.run()
            check(run)
        except Exception as error:
            error.add_note(f"seed {seed}: python tests/studies/simulate.py {seed}")
            raise
    return run


def check(run: Simulation) -> None:
    """Compare with an undisturbed run; raises `WrongEndError`."""
    told = _verdicts(run)
    expected: set[str] = set()
    for partition, log in enumerate(run.broker.topics[run.settings.topics.queries].logs):
        rows = restored(run, partition)
        lost = _lost(run, partition)
        for account, records in valid(log).items():
            state = _state(rows, partition, account)
            variants = _variants(run, partition, account, records, lost)
            fits = [each for each in variants if each.header == state]
            if not fits:
                raise WrongEndError(f"{account}: its state is of no {len(records)} events")
            _compare(account, fits[0], variants, told)
            expected |= {uid for each in variants for uid in each.verdicts}
        _letters(run, partition, log)
    if told.keys() - expected:
        raise WrongEndError(f"verdicts of nothing: {sorted(told.keys() - expected)}")
    _ends(run)


def _verdicts(run: Simulation) -> dict[str, set[bytes]]:
    told: dict[str, set[bytes]] = {}
    for log in run.broker.topics[run.settings.topics.verdicts].logs:
        for record in log.records:
            value = record.value or b""
            told.setdefault(decode_verdict(value).id, set()).add(value)
    return told


def _lost(run: Simulation, partition: int) -> list[range]:
    """Give the offsets that were told to be lost."""
    return [
        range(each["committed"] or 0, each["reading_from"])
        for each in run.told
        if each.get("partition") == partition and "have expired" in each["event"]
    ]


def _variants(
    run: Simulation, partition: int, account: str, records: Sequence[Record], lost: list[range]
) -> list[Truth]:
    """Give what may have come of records: of those told to be lost, the first may not be."""
    gone = [[each for each in records if each.offset in part] for part in lost]
    found = []
    for counts in itertools.product(*(range(len(part) + 1) for part in gone)):
        left = {
            each.offset for part, count in zip(gone, counts, strict=True) for each in part[count:]
        }
        applied = [each for each in records if each.offset not in left]
        found.append(truth(run.settings.topics.queries, partition, account, applied))
    return found


def _compare(
    account: str, fit: Truth, variants: Sequence[Truth], told: dict[str, set[bytes]]
) -> None:
    for uid, value in fit.verdicts.items():
        if value not in told.get(uid, ()):
            raise WrongEndError(f"{account}: verdict {uid} is missing or differs")
    ids = {uid for each in variants for uid in each.verdicts}
    allowed = {value for each in variants for value in each.verdicts.values()}
    for uid in ids & told.keys():
        if told[uid] - allowed:
            raise WrongEndError(f"{account}: verdict {uid} is there with other bytes, too")


def restored(run: Simulation, partition: int) -> dict[bytes, bytes]:
    """Restore a partition's rows from its changelog, as who takes it over would."""
    held: dict[bytes, bytes] = {}
    log = run.broker.topics[run.settings.changelog].logs[partition]
    with structlog.testing.capture_logs():
        found = list(changes(_events(partition, log), lambda _, key: held.get(key)))
    for change in found:
        if change.value is None:
            held.pop(change.key, None)
        else:
            held[change.key] = change.value
    return held


def _events(partition: int, log: Log) -> Iterator[Any]:
    for each in log.records:
        yield SimpleNamespace(
            message=SimpleNamespace(
                partition=partition, offset=each.offset, key=each.key, value=each.value, tp=None
            )
        )


def _state(rows: dict[bytes, bytes], partition: int, account: str) -> bytes | None:
    key = (account, MODEL)
    header = stored(rows.get(header_key(key)))
    if header is None:
        return None
    entry = Entry(key, PROFILE, Source("", partition, 0), Tenure(2**62, 0))
    entry.restore(header, lambda row: stored(rows.get(row)))
    return entry.account.header()


def _letters(run: Simulation, partition: int, log: Log) -> None:
    """Each broken record has a dead letter, and nothing else has one."""
    wanted = {each.offset for each in log.history if each.value == BROKEN}
    lost = {offset for part in _lost(run, partition) for offset in part}
    found = set()
    for letters in run.broker.topics[run.settings.topics.dead_letters].logs:
        for letter in letters.records:
            where = dict(letter.headers)
            if int(where["source_partition"]) == partition:
                found.add(int(where["source_offset"]))
    if found - wanted or wanted - found - lost:
        raise WrongEndError(f"dead letters of {sorted(found)} instead of {sorted(wanted)}")


def _ends(run: Simulation) -> None:
    """Workers have ended for what they may end for; what is lost is counted; no state is."""
    told = sum(each.get("lost", 0) for each in run.told)
    if run.lost != told:
        raise WrongEndError(f"{run.lost} records are counted as lost, {told} are told")
    for reason in run.ended:
        if not (reason in (0, REMADE) or isinstance(reason, KafkaError)):
            raise WrongEndError(f"a worker ended: {reason!r}")
    for each in run.told:
        if each["event"] in FORBIDDEN:
            raise WrongEndError(f"logged: {each}")
