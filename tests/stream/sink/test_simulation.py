"""Sinks that are killed and suspended between any two steps, each schedule by a seed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gamekeeper.stream.sink import opening
from gamekeeper.stream.sink.opening import Opening
from support.simulation import WrongEndError, simulate_sinks

SCHEDULES, CHUNK = 400, 50


@pytest.mark.parametrize("first", range(0, SCHEDULES, CHUNK))
def test_whatever_happens_each_record_is_written_once(first: int, tmp_path: Path) -> None:
    """Each record is in the tables once, or was told to have expired."""
    for seed in range(first, first + CHUNK):
        simulate_sinks(seed, tmp_path / str(seed))


def leftovers_stay(patch: pytest.MonkeyPatch) -> None:
    """Keep files beyond what is committed."""
    patch.setattr(opening, "forget", lambda paths: None)


def gaps_are_not_told(patch: pytest.MonkeyPatch) -> None:
    """Go on behind what retention has taken, in silence (fault 3)."""
    patch.setattr(
        Opening,
        "_pass_over",
        lambda self, place, files, start, first: self._member.commit({place: first}),
    )


@pytest.mark.parametrize("fault", [leftovers_stay, gaps_are_not_told])
def test_the_simulation_finds_what_was_mended(
    fault: Callable[[pytest.MonkeyPatch], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a mend taken out, one of the first seeds fails."""
    fault(monkeypatch)
    assert any(_fails(seed, tmp_path / str(seed)) for seed in range(60))


def _fails(seed: int, folder: Path) -> bool:
    try:
        simulate_sinks(seed, folder)
    except WrongEndError:
        return True
    return False
