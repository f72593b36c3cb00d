"""Recording an attack: run against a victim, interrupted and taken up again, to a trace."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gamekeeper.replay.theft import Attack, Evasion, Start, Victim
from gamekeeper.replay.theft.attacks import catalog as attacks
from gamekeeper.replay.theft.evasions import catalog as evasions
from gamekeeper.replay.theft.options import converted
from gamekeeper.replay.theft.recording.journal import Journal
from gamekeeper.replay.theft.recording.recorder import Recorder
from gamekeeper.replay.theft.recording.run import Loot, Run, run
from gamekeeper.schemas.errors import SettingsError, TraceError
from gamekeeper.schemas.files import write_whole


class Plan(NamedTuple):
    """What an attack's queries depend on besides what the thief starts with, as plain values.

    `sets` holds options as texts, those of evasions as `EVASION.option`. `victim` and `data` tell
    victims and data sets apart.
    """

    attack: str
    evasions: tuple[str, ...]
    sets: Mapping[str, str]
    budget: int
    seeds: int
    seed: int
    victim: str
    data: tuple[str, ...]

    @property
    def kind(self) -> str:
        """Name the attack and how it hides: the `kind` of its trace."""
        return "+".join([self.attack, *self.evasions])


def record(
    plan: Plan,
    victim: Victim,
    start: Start,
    journal: Path,
    advance: Callable[[int], object] = lambda queries: None,
) -> Run:
    """Run an attack; what is answered is kept in `journal`, which the same plan goes on from.

    `advance` is told the number of queries. Raises `UnknownNameError` and `SettingsError` where
    the plan names what there is not, and `TraceError` where the journal is of another plan.
    """
    attack, hiding = _named(plan)
    rng = np.random.default_rng([plan.seed, 1])
    _make(journal)
    with Journal(journal, plan._asdict()) as memory:
        return run(attack, Recorder(victim, advance, memory), start, plan.budget, rng, hiding)


def _make(journal: Path) -> None:
    """Make sure that the journal can be written, before the victim is asked anything."""
    try:
        journal.parent.mkdir(parents=True, exist_ok=True)
        journal.touch()
    except OSError as error:
        raise TraceError(f"{journal}: cannot be written: {error.strerror}") from error


def _named(plan: Plan) -> tuple[Attack, list[Evasion]]:
    """Import the attack and the evasions, with their options filled in."""
    attack = _with_options(attacks.attack(plan.attack), _options(plan.sets, ""), plan.attack)
    hiding = [
        _with_options(evasions.evasion(name), _options(plan.sets, name), name)
        for name in plan.evasions
    ]
    unused = [name for name in plan.sets if name.rpartition(".")[0] not in ("", *plan.evasions)]
    if unused:
        raise SettingsError(
            f"--set {unused[0]}: add --evasion {unused[0].rpartition('.')[0]} to set its options"
        )
    return attack, hiding


def _options(sets: Mapping[str, str], owner: str) -> dict[str, str]:
    parts = {name.rpartition(".")[::2]: text for name, text in sets.items()}
    return {option: text for (whose, option), text in parts.items() if whose == owner}


def _with_options(
    function: Callable[..., Any], given: Mapping[str, str], what: str
) -> Callable[..., Any]:
    return partial(function, **converted(function, given, what))


def write_loot(loot: Loot, path: Path) -> None:
    """Write the thief's `images`, `labels`, `probabilities` and `paid` as npz, whole or not at all.

    Raises `SettingsError` where it cannot be written.
    """
    data = io.BytesIO()
    np.savez_compressed(data, **loot._asdict())
    write_whole(path, data.getvalue())
