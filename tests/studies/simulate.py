"""Replay schedules of the fault simulation, or look for new ones that fail.

    python tests/studies/simulate.py SEED           # step by step
    python tests/studies/simulate.py FIRST LAST     # one line for each that fails

Options: `--only KIND ...`, of what may go wrong. Exits with 1 where one fails.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.simulation import simulate
from support.simulation.schedule import ORDINARY, TURNS


def main() -> int:
    """Run them; print what is found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("first", type=int)
    parser.add_argument("last", type=int, nargs="?")
    parser.add_argument("--only", nargs="*", default=(), choices=[*ORDINARY, *TURNS])
    asked = parser.parse_args()
    if asked.last is None:
        simulate(asked.first, print, asked.only)
        print("as it should be")
        return 0
    begun, failed = time.process_time(), 0
    for seed in range(asked.first, asked.last + 1):
        try:
            simulate(seed, only=asked.only)
        except Exception as error:
            failed += 1
            print(f"seed {seed}: {error!r}", flush=True)
    seconds = time.process_time() - begun
    print(f"{asked.last + 1 - asked.first} schedules, {failed} failed, {seconds:.0f} s")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
