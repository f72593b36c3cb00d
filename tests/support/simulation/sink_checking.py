"""What must be in a folder when the sinks of a simulation are done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from faust.types import TP

from gamekeeper.schemas.event import decode_event
from support.simulation.guard import WrongEndError
from support.simulation.sinking import BROKEN, Sinking
from support.sink_traffic import rejected, tables


def simulate_sinks(seed: int, folder: Path) -> None:
    """Run the simulation of a seed in an empty folder and check what is there."""
    run = Sinking(seed, folder)
    try:
        run.run()
        check(run)
    except Exception as error:
        error.add_note(f"seed {seed}: python tests/studies/simulate.py {seed} --sinks")
        raise


def check(run: Sinking) -> None:
    """Each record is there once, or told as lost; raises `WrongEndError`."""
    lost = _lost(run.folder)
    found = tables(run.folder)
    _compare("verdicts", [row["id"] for row in found["verdicts"]], *_ids(run, lost))
    events = [(row["event"], row["row"]) for row in found["queries"]]
    _compare("queries", events, *_rows(run, lost))
    broken = [(each["topic"], each["partition"], each["offset"]) for each in rejected(run.folder)]
    wanted = {
        (place.topic, place.partition, record.offset)
        for place in run.places
        for record in run.broker.log(place).history
        if record.value == BROKEN
    }
    gone = {(place.topic, place.partition, offset) for place, offset in lost}
    _compare("rejected", broken, wanted - gone, wanted)


def _compare(what: str, found: list[Any], least: set[Any], most: set[Any]) -> None:
    if len(found) != len(set(found)):
        raise WrongEndError(f"{what}: some are there twice")
    if not least <= set(found) <= most:
        missing, unknown = least - set(found), set(found) - most
        raise WrongEndError(f"{what}: {missing} are missing, {unknown} unknown")


def _lost(folder: Path) -> set[tuple[TP, int]]:
    """Give the offsets that the table of gaps tells of."""
    rows = [
        row
        for path in (folder / "gaps").glob("*.parquet")
        for row in pq.read_table(path, partitioning=None).to_pylist()
    ]
    return {
        (TP(row["topic"], row["partition"]), offset)
        for row in rows
        for offset in range(row["first"], row["next"])
    }


def _ids(run: Sinking, lost: set[tuple[TP, int]]) -> tuple[set[Any], set[Any]]:
    """Give the ids of verdicts that must be there, and of those that may be."""
    must, may = set(), set()
    for place in run.places:
        if place.topic == run.settings.topics.verdicts:
            for record in run.broker.log(place).history:
                if record.kind == "data" and record.value != BROKEN:
                    uid = json.loads(record.value or b"")["id"]
                    may.add(uid)
                    if (place, record.offset) not in lost:
                        must.add(uid)
    return must, may


def _rows(run: Sinking, lost: set[tuple[TP, int]]) -> tuple[set[Any], set[Any]]:
    """Give the events' rows that must be there, and those that may be."""
    must, may = set(), set()
    for place in run.places:
        if place.topic == run.settings.topics.queries:
            for record in run.broker.log(place).history:
                if record.kind == "data" and record.value != BROKEN:
                    event = decode_event(record.value or b"")
                    rows = {(event.id, row) for row in range(len(event))}
                    may |= rows
                    if (place, record.offset) not in lost:
                        must |= rows
    return must, may
