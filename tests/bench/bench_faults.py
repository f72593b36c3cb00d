"""Kills and suspensions on three nodes of Kafka: five minutes of `tests/studies/faults.py`.

Where KAFKA_HOME does not name Apache Kafka, it says so, and that is all.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.brokers import kafka_home

STUDY = Path(__file__).parents[1] / "studies" / "faults.py"


def main() -> int:
    """Run it in a folder of its own, or say why not."""
    if kafka_home() is None:
        print("faults: left out, since KAFKA_HOME names no Apache Kafka to start three nodes of")
        return 0
    with tempfile.TemporaryDirectory(prefix="gamekeeper-faults-") as folder:
        return subprocess.run([sys.executable, STUDY, "--quick", "--folder", folder]).returncode


if __name__ == "__main__":
    sys.exit(main())
