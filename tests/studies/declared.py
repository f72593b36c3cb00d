"""What a declaration is worth to a thief who has taken the declared account over.

    python tests/studies/declared.py TRACE... [--profile sample] [--budget 500]

Recorded attacks (`gamekeeper attack NAME ... --out TRACE`) are judged by a profile and `steps`, as
sent by an account of which nothing is declared, and by one of which each of the habits is. Given is
the query at which the first finding is opened, and its severity; and with each habit the query from
which on a finding is above low, by which detector, and whether the declaration was broken by then.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

sys.path.insert(0, str(Path(__file__).parents[1]))

from gamekeeper.detectors.base import Featurizer
from gamekeeper.detectors.engine import DeclaredHabit, Profile, override, resolve
from gamekeeper.detectors.engine.declared import NAME
from gamekeeper.detectors.engine.habits import EXPLAINS
from gamekeeper.replay.traces import TraceStore, open_trace
from gamekeeper.replay.tune.calibration import open_profile
from gamekeeper.replay.tune.evaluation.life import score_life
from gamekeeper.schemas.verdict import Verdict
from gamekeeper.stream.profile_files import load_networks

BATCH = 256


class Judged(NamedTuple):
    """One account: the first verdicts at all and above low, and how severe it became."""

    first: Verdict | None
    above: Verdict | None
    broken: Verdict | None


def judged(
    profile: Profile, networks: tuple[Featurizer, ...], store: TraceStore, habit: str, budget: int
) -> Judged:
    """Let the trace's one account have a habit declared; none where it is empty."""
    [life] = store.lives
    terms = {"account": life.account, "owner": "study", "until": "2100-01-01", "budget": budget}
    habits = (DeclaredHabit(habit=habit, **terms),) if habit else ()
    declaring = resolve(msgspec.structs.replace(profile, model="*", habits=habits))
    scored = score_life(declaring, networks, life, store.stretches(life, BATCH))
    found = sorted(scored.verdicts, key=lambda each: each.query)
    broken = [each for each in found if each.detector == NAME]
    above = [each for each in found if each.severity != "low" and each.detector != NAME]
    return Judged(*(next(iter(each), None) for each in (found, above, broken)))


def told(verdict: Verdict | None) -> str:
    """Say when, by which detector and how severe."""
    if verdict is None:
        return "never"
    return f"{verdict.queries} ({verdict.detector}, {verdict.severity})"


def rows(path: Path, profile: Path, budget: int) -> Iterator[str]:
    """Judge one trace: a row of the table."""
    opened, folder = open_profile(profile)
    names = [*(each.detector for each in opened.detectors), "steps"]
    watching, networks = override(opened, [], names), load_networks(opened, folder)
    with open_trace([path]) as store:
        yield told(judged(watching, networks, store, "", budget).first)
        for habit in EXPLAINS:
            each = judged(watching, networks, store, habit, budget)
            broken = f"; broken at {each.broken.queries}" if each.broken else ""
            yield told(each.above) + broken


def main() -> None:
    """Judge and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("traces", type=Path, nargs="+")
    parser.add_argument("--profile", type=Path, default=Path("sample"))
    parser.add_argument("--budget", type=int, default=500)
    asked = parser.parse_args()
    print("| " + " | ".join(["attack", "undeclared", *EXPLAINS]) + " |")
    print("| --- " * (2 + len(EXPLAINS)) + "|")
    for path in asked.traces:
        cells = rows(path, asked.profile, asked.budget)
        print("| " + " | ".join([path.stem, *cells]) + " |", flush=True)


if __name__ == "__main__":
    main()
