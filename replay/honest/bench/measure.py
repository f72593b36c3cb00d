"""Accounts of each habit, from images that chose no threshold, and what detectors say of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec
import numpy as np

from gamekeeper.replay.honest.base import Own
from gamekeeper.replay.honest.catalog import HABITS
from gamekeeper.replay.honest.record import Plan, sent
from gamekeeper.replay.theft.bench.judge import Record, record, statistics
from gamekeeper.replay.theft.bench.pools import Queries, featurize
from gamekeeper.replay.theft.bench.run import shared
from gamekeeper.replay.tune.processes import Advance, over
from gamekeeper.schemas.files import write_whole


class Key(msgspec.Struct, frozen=True, order=True):
    """Which account: a habit, and the account's number."""

    habit: str
    number: int

    def slug(self) -> str:
        """Name the account's file."""
        return f"{self.habit}--{self.number}"


class Outcome(msgspec.Struct, frozen=True):
    """What was said of one account of `sent` queries.

    `records` have, by detector, the queries at which its largest statistic so far grew, and to
    what.
    """

    habit: str
    number: int
    sent: int
    records: dict[str, Record]


def keys_of(habits: Sequence[str], accounts: int) -> list[Key]:
    """List the accounts of these habits, or of all that images can have.

    One account of each habit after the other, so that an interrupted bench has some of each.
    """
    names = habits or [name for name, entry in HABITS.items() if entry.takes != "rows"]
    return [Key(name, number) for number in range(accounts) for name in names]


def measure(folder: Path, keys: Sequence[Key], queries: int, jobs: int, advance: Advance) -> None:
    """Do the accounts that are not done yet."""
    paths = {key: _file(folder, queries, key) for key in keys}
    _folder(folder, queries).mkdir(parents=True, exist_ok=True)

    def tell() -> None:
        advance(sum(path.exists() for path in paths.values()), len(keys))

    tell()
    todo = [key for key, path in paths.items() if not path.exists()]
    if todo:
        for _ in over(partial(_account, folder, queries), todo, jobs, undeterred=True):
            tell()


def there(folder: Path, keys: Sequence[Key], queries: int) -> list[Outcome]:
    """Read the accounts that are done, in the keys' order."""
    paths = [_file(folder, queries, key) for key in keys]
    return [msgspec.json.decode(path.read_bytes(), type=Outcome) for path in paths if path.exists()]


def _folder(folder: Path, queries: int) -> Path:
    return folder / "habits" / str(queries)


def _file(folder: Path, queries: int, key: Key) -> Path:
    return _folder(folder, queries) / f"{key.slug()}.json"


def _account(folder: Path, queries: int, key: Key) -> None:
    have = shared(folder)
    plan = Plan(key.habit, accounts=key.number + 1, queries=queries)
    images = sent(plan, Own(have.test.images, have.test.labels), key.number)
    answers = have.victim(images)
    asked = Queries(images, answers.labels, answers.probabilities, featurize(have.networks, images))
    found = statistics(have.watched.detectors, asked.batches(np.arange(queries)))
    records = {name: record(values) for name, values in found.items()}
    outcome = Outcome(key.habit, key.number, queries, records)
    write_whole(_file(folder, queries, key), msgspec.json.encode(outcome))
