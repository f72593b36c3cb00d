"""How often a promise that is kept is suspended all the same, and how soon one that is not.

    python tests/studies/drift.py [--lives 10000000] [--seed 0]
    python tests/studies/drift.py --own DIR --changed DIR...

Streams of lives, each of which alarms with a stated chance, at once or late; promised is 1 %. Or
accounts as `gamekeeper evaluate` judged them, a new one each minute: 300 of those in `--own`, then
those in `--changed`, alone and one in five among more of the first.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gamekeeper.detectors.drift import Life, Limits, limits_of, periods
from gamekeeper.replay.tables import connect

PROMISED = Limits(1000, 0.01)
STREAM = 100_000
"""Lives of one stream: a year's of 270 a day."""
MINUTE = 60_000_000
LATE = 300
"""Lives that begin, at most, before one that alarms does so: those of a day."""


def lives(rng: np.random.Generator, count: int, rate: float, late: int = 0) -> list[Life]:
    """Draw a stream; who alarms does so up to `late` lives later."""
    alarmed = rng.random(count) < rate
    delay = rng.integers(0, late + 1, count)
    return [
        Life(at, alarmed=at + wait if alarms else None, kind="other data" if alarms else "")
        for at, (alarms, wait) in enumerate(zip(alarmed.tolist(), delay.tolist(), strict=True))
    ]


def kept(rng: np.random.Generator, total: int, rate: float, late: int) -> str:
    """Count suspensions of a promise that is kept."""
    suspensions, inside = 0, 0
    for _ in range(total // STREAM):
        for each in periods(lives(rng, STREAM, rate, late), PROMISED):
            suspensions += each.suspended
            inside += each.suspended * ((each.ended or STREAM) - each.begun)
    return (
        f"| {100 * rate:g} % | {late} | {total:,} | {suspensions} | {100 * inside / total:.2f} % |"
    )


def noticed(rng: np.random.Generator, rate: float, share: float, runs: int = 200) -> str:
    """Say after how many lives it is noticed that a share of accounts alarms at a rate."""
    found = [_first(rng, 0.005 + share * (rate - 0.005)) for _ in range(runs)]
    low, middle, high = np.percentile([each for each in found if each], [10, 50, 90])
    missed = sum(not each for each in found)
    return (
        f"| {100 * share:g} % | {100 * rate:g} % | {middle:.0f} ({low:.0f}-{high:.0f}) | {missed} |"
    )


def _first(rng: np.random.Generator, rate: float) -> int:
    """Give the number of lives of changed traffic by which it is noticed, of 2,000; else 0."""
    before = lives(rng, 1000, 0.005)
    after = [each._replace(begun=1000 + each.begun) for each in lives(rng, 2000, rate)]
    known = before + [
        each if each.alarmed is None else each._replace(alarmed=1000 + each.alarmed)
        for each in after
    ]
    suspended = (each.begun for each in periods(known, PROMISED) if each.suspended)
    return next((time - 999 for time in suspended if time >= 1000), 0)


def tables(total: int, seed: int) -> Iterator[str]:
    """Give both tables, row by row."""
    rng = np.random.default_rng(seed)
    yield "| alarm | up to so many lives late | lives | suspensions | time suspended |"
    for rate, late in ((0.01, 0), (0.01, LATE), (0.005, 0)):
        yield kept(rng, total, rate, late)
    yield "| changed accounts | of these alarm | lives until suspended (10-90 %) | missed of 200 |"
    for share, rate in ((1, 1), (1, 0.5), (1, 0.2), (1, 0.1), (1, 0.05), (1, 0.03), (0.1, 1)):
        yield noticed(rng, rate, share)


def judged(folder: Path) -> tuple[Limits, list[Life]]:
    """Read what is promised, and the accounts' lives, each from time 0."""
    connection = connect(folder)
    text = "SELECT any_value(promise) FROM verdicts"
    [(promise,)] = connection.execute(text).fetchall()
    text = """
        WITH found AS (
            SELECT account, epoch_us(min(last_time)) AS found_at, arg_min(kind, last_time) AS what
            FROM verdicts WHERE activity = 'create' GROUP BY account
        )
        SELECT found_at - epoch_us(min("time")), what FROM scores LEFT JOIN found USING (account)
        GROUP BY account, found_at, what ORDER BY account
    """
    rows = connection.execute(text).fetchall()
    limits = limits_of(json.loads(promise)) if promise else None
    return limits or PROMISED, [Life(0, alarmed=at, kind=kind or "") for at, kind in rows]


def later(life: Life, begun: int) -> Life:
    """Let a life begin later."""
    return life._replace(
        begun=begun, alarmed=None if life.alarmed is None else begun + life.alarmed
    )


def rolled_out(own: list[Life], changed: list[Life], limits: Limits, share: float) -> list[int]:
    """Say, of 100 orders of the accounts, after how many new ones the promise is suspended."""
    found = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        first = [own[at] for at in rng.permutation(len(own))]
        rest, others = first[300:], [changed[at] for at in rng.permutation(len(changed))]
        mixed = first[:300]
        while others and (rest or share == 1):
            mixed.append(others.pop() if rng.random() < share else rest.pop())
        known = [later(life, at * MINUTE) for at, life in enumerate(mixed)]
        times = [each.begun for each in periods(known, limits) if each.suspended]
        found += [times[0] // MINUTE - 299] if times else []
    return found


def rolling(own: Path, folders: list[Path]) -> Iterator[str]:
    """Give the table of roll-outs, row by row."""
    limits, honest = judged(own)
    alarms = sum(life.alarmed is not None for life in honest)
    yield f"own: {alarms} of {len(honest)}; at most {limits.first:.4f} allowed"
    for folder in folders:
        _, changed = judged(folder)
        alarms = sum(life.alarmed is not None for life in changed)
        cells = []
        for share in (1.0, 0.2):
            found = rolled_out(honest, changed, limits, share)
            low, middle, high = np.percentile(found or [0], [10, 50, 90])
            cells.append(f"{middle:.0f} ({low:.0f}-{high:.0f}), {len(found)} of 100")
        yield f"| {folder.name} | {alarms} of {len(changed)} | {' | '.join(cells)} |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--own", type=Path)
    parser.add_argument("--changed", type=Path, nargs="*", default=[])
    parser.add_argument("--lives", type=int, default=10_000_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    told = (
        rolling(arguments.own, arguments.changed)
        if arguments.own
        else tables(arguments.lives, arguments.seed)
    )
    for row in told:
        print(row, flush=True)
