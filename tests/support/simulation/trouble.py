"""What goes wrong with workers, their network and their broker."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from gamekeeper.stream.worker.changelog import FENCE, MARK
from support.simulation.broker import Broker
from support.simulation.clock import EPOCH
from support.simulation.machine import Machine, Worker
from support.simulation.network import Link

ORDINARY = (
    *("kill", "stop", "freeze", "cut", "stall", "outage", "compact"),
    *("markers", "broken"),  # these are in the traffic
)
"""What may go wrong at any time."""
LONGEST = 9.0
"""Seconds that something goes wrong at most: three sessions."""
LAG = 60.0
"""Seconds for which the changelog keeps everything, as `min.compaction.lag.ms` has it."""


class Trouble:
    """Makes trouble for machines, as chance has it, until it is told to settle."""

    def __init__(
        self,
        broker: Broker,
        machines: Sequence[Machine],
        changelog: str,
        chance: random.Random,
        say: Callable[[str], None],
    ) -> None:
        self.world, self.broker, self.machines = broker.world, broker, machines
        self.chance, self.say, self._changelog = chance, say, changelog
        self._stalled: set[Link] = set()
        self._settling = False

    def begin(self) -> None:
        """Begin, or begin anew."""
        self._settling = False

    def settle(self) -> None:
        """Mend everything; a stalled worker's network is mended when that was to be."""
        self._settling = True
        self._up()
        for machine in self.machines:
            if machine.worker is None:
                machine.start()
            else:
                machine.worker.wake()
                if machine.worker.link not in self._stalled:
                    machine.worker.link.mend()

    def happen(self, kind: str) -> None:
        """Let something go wrong."""
        machine = self.chance.choice(self.machines)
        worker, seconds = machine.worker, self.chance.uniform(0.1, LONGEST)
        self.say(f"{kind} machine {self.machines.index(machine)} for {seconds:.1f} s")
        if kind == "outage":
            self.broker.up = False
            self.world.after(seconds, self._up)
        elif kind == "compact":
            self._compact()
        elif worker is None:
            return
        elif kind in ("kill", "stop"):
            machine.over() if kind == "kill" else worker.stop()
            self.world.after(seconds, machine.start)
        elif kind == "freeze":
            if self.chance.random() < 0.5:
                self._freeze(worker, seconds)
            else:
                worker.link.sending = lambda *_: self._freeze(worker, seconds)
        elif kind == "cut":
            worker.link.cut = True
            self.world.after(seconds, worker.link.mend)
        elif kind == "stall":
            worker.link.sending = lambda place, batch: self._stall(machine, place)

    def _freeze(self, worker: Worker, seconds: float) -> None:
        worker.link.sending = lambda *_: None
        worker.loop.awake = False
        self.world.after(seconds, worker.wake)

    def _stall(self, machine: Machine, place: Any) -> None:
        """Cut a worker off in the middle of a save, until a successor is in its own."""
        if place.topic != self._changelog or machine.worker is None or self._settling:
            return
        link = machine.worker.link
        link.cut, link.sending = True, lambda *_: None
        self._stalled.add(link)
        self.world.after(LONGEST, link.mend)
        self.say(f"machine {self.machines.index(machine)} stalls in a save")
        for other in self.machines:
            if other is not machine and other.worker is not None:
                other.worker.link.sending = partial(self._meet, link, other, place)

    def _meet(self, late: Link, machine: Machine, where: Any, place: Any, batch: Any) -> None:
        """Let late rows through beside a successor's, and end that one, perhaps."""
        rows = all(record[0] not in (MARK, FENCE) for record, _ in batch)
        if place != where or not rows or machine.worker is None or self.chance.random() < 0.5:
            return
        self.say(f"late rows meet those of machine {self.machines.index(machine)}")
        machine.worker.link.sending = lambda *_: None
        late.mend()
        if self.chance.random() < 0.5:
            self.world.after(self.chance.uniform(0.0, 1.0), machine.over)
            self.world.after(self.chance.uniform(1.0, 4.0), machine.start)

    def _up(self) -> None:
        self.broker.up = True
        for machine in self.machines:
            if machine.worker is not None:
                machine.worker.link.release()

    def _compact(self) -> None:
        for log in self.broker.topics[self._changelog].logs:
            log.compact(EPOCH + self.world.now - LAG)
