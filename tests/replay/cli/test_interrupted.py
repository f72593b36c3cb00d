"""Ctrl-C in what takes long: one line on what the same command does next, and exit code 130."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from gamekeeper.stream.cli.root import main

GOES_ON = "interrupted; give the same command again to go on"
WORK = {
    "gamekeeper.replay.cli.train.read_data": ("train sample", GOES_ON),
    "gamekeeper.replay.cli.bench.read_data": ("bench combined sample", GOES_ON),
    "gamekeeper.replay.theft.victims.victim": (
        "attack papernot --victim v --data sample --budget 9",
        GOES_ON,
    ),
    "gamekeeper.replay.tune.calibration.calibrate": ("calibrate sample", GOES_ON),
}


@pytest.mark.parametrize("work", WORK)
def test_ctrl_c_says_what_comes_next(
    work: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what is true of the command: not all keep what they have done."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(work, interrupt)
    words, said = WORK[work]
    result = CliRunner().invoke(main, [*words.split(), "--out", str(tmp_path / "out")])
    assert result.exit_code == 130
    assert result.stderr.splitlines() == [said]
    assert result.stdout == ""
