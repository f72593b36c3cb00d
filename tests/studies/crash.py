"""Kill workers with SIGKILL at random moments while a trace plays; no verdict may be lost.

    KAFKA_HOME=... python tests/studies/crash.py [--kills 30] [--queries 20000] [--workers 1|2]

Every killed worker is started again. Verdicts are compared, by id and byte by byte, with those of
an undisturbed run over the same topic. Exits with 1 where one is missing or differs.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support import brokers, crashing


def main() -> int:
    """Run it once; print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--broker", default="kafka", choices=["kafka", "embedded", "given"])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--queries", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--store", default="rocksdb", choices=["rocksdb", "memory"])
    asked = parser.parse_args()
    start = time.monotonic()
    with brokers.make_broker(asked.broker) as broker:
        found = crashing.run(
            broker.address,
            queries=asked.queries,
            kills=asked.kills,
            workers=asked.workers,
            seed=asked.seed,
            store=asked.store,
            say=lambda text: print(f"{time.monotonic() - start:6.1f} s  {text}", flush=True),
        )
    print(
        f"{asked.kills} kills, {asked.queries} queries, {asked.workers} worker(s): "
        f"{found.expected} verdicts, {found.missing} missing, {found.differing} differing, "
        f"{found.unknown} unknown, {found.repeated} written more than once"
    )
    return 0 if found.good else 1


if __name__ == "__main__":
    sys.exit(main())
