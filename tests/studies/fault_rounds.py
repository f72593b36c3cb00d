"""The journal of `faults.py`: what each round has found, and the table that is made of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.comparison import Comparison
from support.stage import Outcome

HEAD = (
    "phase",
    "rounds",
    "strikes",
    "verdicts",
    "missing",
    "differing",
    "unknown",
    "twice in the tables",
    "sent again",
    "ended by themselves",
    "did not end",
    "minutes",
    "commits",
)


class Round(msgspec.Struct, kw_only=True):
    """What one playing has found: a line of the journal; `error` is of one that did not end."""

    phase: str
    seed: int
    strikes: int
    commit: str
    seconds: float = 0.0
    topic: Comparison | None = None
    tables: Comparison | None = None
    ended: int = 0
    error: str = ""

    @property
    def good(self) -> bool:
        """Whether all verdicts are there, as they should be, and once in the tables."""
        return (
            self.topic is not None
            and self.tables is not None
            and Outcome(self.topic, self.tables, self.ended).good
        )


class Journal:
    """The rounds that a folder has the results of."""

    def __init__(self, folder: Path) -> None:
        """Make the folder, if need be."""
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "rounds.jsonl"
        self._path.touch()

    def rounds(self) -> list[Round]:
        """Read all of them."""
        lines = self._path.read_bytes().splitlines()
        return [msgspec.json.decode(line, type=Round) for line in lines]

    def add(self, found: Round) -> None:
        """Write one more."""
        with self._path.open("ab") as file:
            file.write(msgspec.json.encode(found) + b"\n")


def table(rounds: list[Round]) -> Iterator[str]:
    """Lay out what was found, a line for each phase; faults of the topic and the tables added."""
    yield "| " + " | ".join(HEAD) + " |"
    yield "| " + " | ".join("---" for _ in HEAD) + " |"
    for phase in dict.fromkeys(each.phase for each in rounds):
        yield "| " + " | ".join(_row([each for each in rounds if each.phase == phase])) + " |"


def _row(rounds: list[Round]) -> list[str]:
    topics = [each.topic for each in rounds if each.topic]
    tables = [each.tables for each in rounds if each.tables]
    numbers = [
        len(rounds),
        sum(each.strikes for each in rounds),
        sum(each.expected for each in topics),
        sum(each.missing for each in topics + tables),
        sum(each.differing for each in topics + tables),
        sum(each.unknown for each in topics + tables),
        sum(each.repeated for each in tables),
        sum(each.repeated for each in topics),
        sum(each.ended for each in rounds),
        sum(bool(each.error) for each in rounds),
        round(sum(each.seconds for each in rounds) / 60),
    ]
    commits = sorted({each.commit for each in rounds})
    return [rounds[0].phase, *map(str, numbers), ", ".join(commits)]
