"""Which cells of a bench are done together?"""

from __future__ import annotations

from gamekeeper.replay.theft.bench.cell import PLAIN, Key
from gamekeeper.replay.theft.bench.run import grouped


def test_one_recording_serves_all_evasions_that_change_no_answer() -> None:
    """Other evasions, attacks and runs are recorded on their own; every cell is done once."""
    keys = [
        Key(attack, evasion, run)
        for run in (0, 1)
        for evasion in (PLAIN, "filter", "split-by-class", "blind-crop", "pace")
        for attack in ("papernot", "color")
    ]
    groups = grouped(keys)
    assert sorted(key for group in groups for key in group) == sorted(keys)
    assert len(groups) == 12
    together = (PLAIN, "split-by-class", "pace")
    assert tuple(Key("color", each, 1) for each in together) in groups
