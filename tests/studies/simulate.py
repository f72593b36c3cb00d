"""Replay schedules of the fault simulation, or look for new ones that fail.

    python tests/studies/simulate.py SEED           # step by step
    python tests/studies/simulate.py FIRST LAST     # one line for each that fails

`--only KIND ...` names what may go wrong, `--steps` tells each step of many, too, `--sinks`
simulates sinks instead of workers. Exits with 1 where one fails.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.simulation import simulate, simulate_sinks
from support.simulation.schedule import TURNS
from support.simulation.trouble import ORDINARY


def main() -> int:
    """Run them; print what is found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("first", type=int)
    parser.add_argument("last", type=int, nargs="?")
    parser.add_argument("--only", nargs="*", default=(), choices=[*ORDINARY, *TURNS])
    parser.add_argument("--steps", action="store_true")
    parser.add_argument("--sinks", action="store_true")
    asked = parser.parse_args()
    last = asked.first if asked.last is None else asked.last
    say = print if asked.steps or asked.last is None else _nothing
    begun, failed = time.process_time(), 0
    for seed in range(asked.first, last + 1):
        try:
            if asked.sinks:
                with TemporaryDirectory() as folder:
                    simulate_sinks(seed, Path(folder))
            else:
                simulate(seed, say, asked.only)
        except Exception as error:
            failed += 1
            print(f"seed {seed}: {error!r}", flush=True)
    seconds = time.process_time() - begun
    said = f"{last + 1 - asked.first} schedules, {failed} failed, {seconds:.0f} s"
    print(said, file=sys.stderr)
    return int(failed > 0)


def _nothing(text: str) -> None:
    """Say nothing."""


if __name__ == "__main__":
    sys.exit(main())
