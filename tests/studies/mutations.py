"""Break the product on purpose, one line at a time, and see whether the tests notice.

    python tests/studies/mutations.py [--revision HEAD] [--only TEXT]

Each mutation is made in a temporary copy of a revision, and the tests run there that should catch
it; the checkout stays as it is. First, all of these tests run on the copy as it is, where they must
pass. Prints a table; exits with 1 where a mutation is missed. Takes ten minutes with the embedded
broker, and twice as long where `KAFKA_HOME` is set.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import venv
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PACKAGES = ("schemas", "detectors", "stream", "replay")


class Mutation(NamedTuple):
    """A fault: in a file, the text `old`, which is there once, becomes `new`; `tests` catch it."""

    fault: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


MUTATIONS = [
    Mutation(
        "files are not synced to disk before they are moved to their places",
        "schemas/files.py",
        "os.fsync(descriptor)",
        "pass",
        ("tests/schemas/test_files.py", "tests/stream/sink/test_lanes.py"),
    ),
    Mutation(
        "an event with as many rows as are allowed is refused",
        "schemas/event.py",
        "if len(inputs) > limits.max_rows:",
        "if len(inputs) >= limits.max_rows:",
        ("tests/schemas/test_event.py",),
    ),
    Mutation(
        "a query that repeats an earlier one counts in PRADA's distances",
        "detectors/prada.py",
        "if digest and (distance == 0.0 or digest in self._digests):",
        "if digest and distance != 0.0 and digest in self._digests:",
        ("tests/detectors/test_prada.py",),
    ),
    Mutation(
        "a finding that has expired stays latched",
        "detectors/engine/policy.py",
        """            yield _change(row, "close", "expired", standing)
            close(standing)
""",
        """            yield _change(row, "close", "expired", standing)
""",
        ("tests/detectors/engine/test_policy.py",),
    ),
    Mutation(
        "an account's new findings come before those that a new profile closes",
        "detectors/engine/engine.py",
        "verdicts=earlier + outcome.verdicts",
        "verdicts=outcome.verdicts + earlier",
        ("tests/detectors/engine/test_standing.py",),
    ),
    Mutation(
        "a detector goes on as it was where its alarm has to reset it",
        "detectors/engine/scoring.py",
        """                detector.reset()
                close(standing)
""",
        """                close(standing)
""",
        ("tests/detectors/engine/test_engine.py",),
    ),
    Mutation(
        "the account rule forgets the account that is watched",
        "replay/tune/calibration/account_rule.py",
        "return math.ceil((1 - alpha) * (accounts + 1))",
        "return math.ceil((1 - alpha) * accounts)",
        ("tests/replay/tune/calibration/test_account_rule.py",),
    ),
    Mutation(
        "processes that share the work use all cores each",
        "replay/tune/processes.py",
        'dict.fromkeys(_THREAD_VARIABLES, "1")',
        'dict.fromkeys(_THREAD_VARIABLES, "2")',
        ("tests/replay/tune/test_processes.py",),
    ),
    Mutation(
        "a trace is played account after account, not in the order of time",
        "replay/traces/trace.py",
        'self._read(np.argsort(self._due, kind="stable"))',
        "self._read(np.arange(len(self._due)))",
        ("tests/replay/traces/test_trace.py",),
    ),
    Mutation(
        "a thief's filter sends what makes a similar pair, and keeps back what does not",
        "replay/theft/evasions/filter.py",
        "if squared[0, 0] < self._delta**2:",
        "if squared[0, 0] > self._delta**2:",
        ("tests/replay/theft/evasions/test_filter.py",),
    ),
    Mutation(
        "a record that cannot be read becomes no dead letter",
        "stream/worker/shares.py",
        "records.letters.append(reading.found)",
        "pass",
        ("tests/stream/worker/test_scoring.py",),
    ),
    Mutation(
        "the worker's state names an offset before the last event that is in it",
        "stream/worker/scoring.py",
        "entry.offset = last.source.offset",
        "entry.offset = last.source.offset - 1",
        (
            "tests/stream/worker/test_scoring.py",
            "tests/stream/worker/test_serve.py::test_death_before_the_first_commit_loses_nothing",
        ),
    ),
    Mutation(
        "the worker writes its state before the verdicts that led to it are safe",
        "stream/worker/settling.py",
        """        await self._tell(scored)
        await self._hold(generation)
        await self._save(scored.rows, generation)
""",
        """        await self._save(scored.rows, generation)
        await self._hold(generation)
        await self._tell(scored)
""",
        (
            "tests/stream/worker/test_app.py::"
            "test_verdicts_that_could_not_be_sent_come_after_the_restart",
        ),
    ),
    Mutation(
        "a restore takes rows that an earlier owner of the partition wrote too late",
        "stream/worker/changelog.py",
        "return found if found.offset <= offset else _Fence()",
        "return _Fence()",
        ("tests/stream/worker/test_changelog.py",),
    ),
    Mutation(
        "the sink commits one record more than it has written",
        "stream/sink/writing.py",
        "if not self._commit(lanes, {place: lane.end for place, lane in lanes.items()}):",
        "if not self._commit(lanes, {place: lane.end + 1 for place, lane in lanes.items()}):",
        ("tests/stream/sink/test_sink.py::test_goes_on_where_it_stopped",),
    ),
    Mutation(
        "a sink that was stalled does not ask whether its partitions are still its own",
        "stream/sink/writing.py",
        "if not self._commit(lanes, {place: lane.start for place, lane in lanes.items()}):",
        "if not lanes:",
        (
            "tests/stream/sink/test_sink_slow.py",
            "tests/stream/sink/test_sink_disturbed.py::test_a_suspended_sink_does_no_harm",
        ),
    ),
    Mutation(
        "the tap takes one event more than its queue may hold",
        "stream/tap/backlog.py",
        'counts["queued_events"] + events <= self._max_events',
        'counts["queued_events"] <= self._max_events',
        (
            "tests/stream/tap/test_tap_queue.py",
            "tests/stream/tap/test_tap_broker.py::test_close_ends_where_no_broker_ever_was",
        ),
    ),
]


class Copy:
    """A revision in a folder, with an environment that imports it and all that is installed."""

    def __init__(self, folder: Path, revision: str) -> None:
        """Unpack the revision and make the environment."""
        self.folder = folder
        packed = subprocess.run(
            ["git", "archive", revision], cwd=ROOT, check=True, capture_output=True
        )
        with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
            archive.extractall(folder, filter="data")
        place = folder / ".venv"
        venv.create(place, symlinks=True)
        links = folder / "build" / "types"
        (links / "gamekeeper").mkdir(parents=True)
        for package in PACKAGES:
            (links / "gamekeeper" / package).symlink_to(folder / package)
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        installed = sysconfig.get_path("purelib")
        # Before what is installed, which knows the checkout under the same name.
        (place / "lib" / version / "site-packages" / "copy.pth").write_text(
            f"{links}\nimport site; site.addsitedir({installed!r})\n"
        )
        self.python = place / "bin" / "python"
        for tool in Path(sys.executable).parent.iterdir():
            script = tool.read_bytes() if tool.is_file() else b""
            if script.startswith(b"#!") and not (self.python.parent / tool.name).exists():
                rest = script.partition(b"\n")[2]
                copied = self.python.parent / tool.name
                copied.write_bytes(b"#!" + bytes(self.python) + b"\n" + rest)
                copied.chmod(0o755)

    def test(self, tests: list[str]) -> tuple[int, str]:
        """Run tests until one fails; pytest's exit status, and what it said."""
        command = [self.python, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr


def caught(copy: Copy, mutation: Mutation) -> str | None:
    """Make a mutation, run its tests, take it back; the test that failed, None where none did."""
    path = copy.folder / mutation.file
    good = path.read_text()
    if good.count(mutation.old) != 1:
        raise SystemExit(f"{mutation.file} has {good.count(mutation.old)} times: {mutation.old}")
    path.write_text(good.replace(mutation.old, mutation.new))
    try:
        status, said = copy.test(list(mutation.tests))
    finally:
        path.write_text(good)
    if status == 0:
        return None
    failed = [line for line in said.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    if status != 1 or not failed:
        raise SystemExit(f"the tests of {mutation.file} did not run:\n{said[-4000:]}")
    return failed[0].split(" ")[1]


def main() -> int:
    """Print a line of the table for each mutation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--revision", default="HEAD", help="What is broken and tested.")
    parser.add_argument("--only", default="", help="Mutations of files whose name has this.")
    asked = parser.parse_args()
    chosen = [each for each in MUTATIONS if asked.only in each.file]
    missed = 0
    with tempfile.TemporaryDirectory(prefix="gamekeeper-mutations-") as folder:
        copy = Copy(Path(folder), asked.revision)
        status, said = copy.test(sorted({test for each in chosen for test in each.tests}))
        if status:
            raise SystemExit(f"the tests fail without any mutation:\n{said[-4000:]}")
        print("| file | fault | caught by |\n| --- | --- | --- |", flush=True)
        for each in chosen:
            by = caught(copy, each)
            missed += by is None
            print(f"| {each.file} | {each.fault} | {f'`{by}`' if by else 'nothing'} |", flush=True)
    print(f"\n{len(chosen) - missed} of {len(chosen)} caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
