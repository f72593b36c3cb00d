"""Faults of every kind over recorded traffic on three nodes of Kafka; no verdict may be lost.

    KAFKA_HOME=... python tests/studies/faults.py --folder DIR [--quick] [--phase workers]...

The sample trace is played over and over, to three workers with its three detectors and networks and
to two sinks, thresholds so low that there are some 500 verdicts. At random moments, after all have
recovered from the strike before, or one worker has, or at once,

* workers: two of the three workers are killed at once, 300 SIGKILLs in all;
* sinks: one of the sinks is killed, 50 times;
* brokers: one node after the other, or all at once, 50 times;
* suspensions: a worker or a sink is stopped until its session is over, and then goes on, 50 times.

All are started again. A round is one playing, with strikes of one kind. Then a worker of its own
reads the same topic undisturbed; verdicts are compared, by id and byte by byte, on their topic and
in the sinks' tables. What a round has found is a line of DIR/rounds.jsonl; run again, the study
goes on after the last. The round's number is its seed. Of a round that is not as it should be, DIR
keeps the tables, the logs and the workers' folders. `--quick` takes some five minutes. Exits with 1
where a verdict is missing, differs or is in the tables twice.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
from fault_rounds import Journal, Round, table

sys.path.insert(0, str(Path(__file__).parents[1]))

from gamekeeper.detectors.engine import Policy
from gamekeeper.replay.traces import SAMPLE, read_trace
from gamekeeper.replay.tune.calibration import SHIPPED
from gamekeeper.schemas.errors import GamekeeperError
from gamekeeper.schemas.event import encode_event, event_key
from gamekeeper.stream.profile_files import load_profile
from support.brokers import kafka_home
from support.kafka_nodes import KafkaCluster
from support.stage import Outcome, Stage
from support.strikes import (
    Strike,
    broker_strikes,
    play,
    sink_killed,
    suspended,
    workers_killed,
)
from support.workers import Record

WORKERS, SINKS = 3, 2
PARTITIONS = 2 * WORKERS
THRESHOLDS = {"prada": 0.0, "similarity": 4.5, "likelihood": -0.2}
"""Each account of the trace alarms several times, which shows what its detector remembers."""


class Phase(NamedTuple):
    """So many rounds of so many strikes of one kind."""

    rounds: int
    strikes: int


PHASES = {
    "workers": Phase(6, 25),
    "sinks": Phase(2, 25),
    "brokers": Phase(2, 25),
    "suspensions": Phase(2, 25),
}
QUICK = {
    "workers": Phase(1, 5),
    "sinks": Phase(1, 4),
    "brokers": Phase(1, 3),
    "suspensions": Phase(1, 2),
}


def lowered(folder: Path) -> Path:
    """Write the sample's profile with low thresholds, and its networks beside it."""
    profile = load_profile(SHIPPED)
    low = tuple(
        msgspec.structs.replace(each, threshold=THRESHOLDS[each.detector])
        for each in profile.detectors
    )
    changed = msgspec.structs.replace(profile, detectors=low, policy=Policy(mode="reset"))
    for network in profile.networks:
        shutil.copy(SHIPPED.parent / network.file, folder)
    path = folder / "profile.json"
    path.write_bytes(msgspec.json.encode(changed))
    return path


def trace() -> list[Record]:
    """Read the sample's events, in the order of time."""
    events = [each.event for each in read_trace([SAMPLE])]
    return [(event_key(event.account), encode_event(event)) for event in events]


def strikes_of(
    phase: str, cluster: KafkaCluster, count: int, chance: random.Random
) -> list[Strike]:
    """Choose the strikes of a round."""
    kinds: dict[str, tuple[Strike, ...]] = {
        "workers": (workers_killed,),
        "sinks": (sink_killed,),
        "brokers": broker_strikes(cluster),
        "suspensions": (suspended,),
    }
    return chance.choices(kinds[phase], k=count)


def run(phase: str, seed: int, strikes: int, folder: Path) -> Outcome:
    """Play the trace once, and compare; `folder` has what its processes have written."""
    home, chance = kafka_home(), random.Random(f"{phase} {seed}")
    assert home is not None
    start = time.monotonic()

    def say(text: str) -> None:
        print(f"{phase} {seed}, {time.monotonic() - start:5.1f} s: {text}", flush=True)

    with (
        KafkaCluster(home) as cluster,
        Stage(
            cluster.address,
            folder,
            lowered(folder),
            workers=WORKERS,
            sinks=SINKS,
            GAMEKEEPER_PARTITIONS=str(PARTITIONS),
            GAMEKEEPER_REPLICATION="3",
        ) as stage,
    ):
        say("started")
        play(stage, trace(), strikes_of(phase, cluster, strikes, chance), chance, say)
        return stage.compare()


def measure(phase: str, seed: int, strikes: int, folder: Path) -> Round:
    """Play one round; its folder stays where it was not as it should be."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    begun = time.monotonic()
    found = Round(phase=phase, seed=seed, strikes=strikes, commit=commit())
    try:
        found.topic, found.tables, found.ended = run(phase, seed, strikes, folder)
    except (AssertionError, GamekeeperError) as error:
        found.error = f"{type(error).__name__}: {error}"
    found.seconds = round(time.monotonic() - begun, 1)
    if found.good:
        shutil.rmtree(folder)
    return found


def commit() -> str:
    """Name the state of the code."""
    asked = ["git", "describe", "--always", "--dirty"]
    here = Path(__file__).parent
    return subprocess.run(
        asked, cwd=here, check=True, capture_output=True, text=True
    ).stdout.strip()


def missing(phases: dict[str, Phase], rounds: list[Round]) -> Iterator[tuple[str, int, int]]:
    """Name the rounds that are still to be played, phases by turns: phase, seed and strikes."""
    done = {(each.phase, each.seed, each.strikes) for each in rounds}
    for seed in range(max(each.rounds for each in phases.values())):
        for name, phase in phases.items():
            if seed < phase.rounds and (name, seed, phase.strikes) not in done:
                yield name, seed, phase.strikes


def main() -> int:
    """Go on with the study; print what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--phase", action="append", choices=list(PHASES))
    asked = parser.parse_args()
    if kafka_home() is None:
        parser.error("KAFKA_HOME has to name a folder whose libs/ holds the jars of Apache Kafka")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what it has started ends with it
    sizes = QUICK if asked.quick else PHASES
    journal = Journal(asked.folder)
    wanted = {name: sizes[name] for name in asked.phase or PHASES}
    for phase, seed, strikes in missing(wanted, journal.rounds()):
        journal.add(measure(phase, seed, strikes, asked.folder / f"{phase}-{seed}"))
    rounds = journal.rounds()
    print("\n".join(table(rounds)))
    return 0 if all(each.good for each in rounds) else 1


if __name__ == "__main__":
    sys.exit(main())
