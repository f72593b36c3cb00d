"""The tap in its process: what it loads, how it ends, what a fork does to it."""

from __future__ import annotations

import sys
import textwrap

from support import ports
from support.processes import python


def run(code: str) -> str:
    """Run a script in an interpreter of its own; return what it prints."""
    done = python(textwrap.dedent(code))
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_tap_loads_little() -> None:
    """In a model server, the tap brings numpy, kafka-python, crc32c, msgspec and nothing else."""
    roots = run(
        """
        import sys
        before = set(sys.modules)
        import gamekeeper.stream.tap.tap, gamekeeper.stream.tap.asgi
        print(*{name.partition(".")[0] for name in set(sys.modules) - before})
        """
    ).split()
    foreign = {root for root in roots if root not in sys.stdlib_module_names}
    assert {root for root in foreign if not root.startswith("_")} <= {
        *("gamekeeper", "numpy", "kafka", "crc32c", "msgspec"),
        "typing_extensions",  # msgspec looks for it
    }


def test_the_tap_closes_at_exit() -> None:
    """A script that ends without closing its tap has delivered what it recorded."""
    printed = run(
        """
        from gamekeeper.stream.tap import QueryTap
        from gamekeeper.stream.tap.transport import MemoryTransport

        class Printing(MemoryTransport):
            def send(self, record, done):
                print(record.key.decode(), flush=True)
                done(None)

        tap = QueryTap(model="digits", transport=Printing())
        for number in range(5):
            tap.record(f"account-{number}", [[1.0]], [1])
        """
    )
    assert printed.split() == [f"account-{number}" for number in range(5)]


def test_a_forked_child_starts_afresh() -> None:
    """Parent and child each deliver their own events, also when the tap was in use before."""
    printed = run(
        """
        import os
        from gamekeeper.stream.tap import QueryTap
        from gamekeeper.stream.tap.transport import MemoryTransport

        memory = MemoryTransport(down=True)
        tap = QueryTap(model="digits", transport=memory)
        tap.record("before", [[1.0]], [1])
        child = os.fork()
        memory.down = False
        tap.record("child" if child == 0 else "parent", [[1.0]], [1])
        counts = tap.close()
        told = [*(e.account for e in memory.events()), counts.recorded, counts.delivered]
        line = " ".join(map(str, told)) + os.linesep
        os.write(1, line.encode())  # at once: two processes write
        if child == 0:
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        """
    )
    assert sorted(printed.splitlines()) == ["before parent 2 2", "child 1 1"]


def test_an_outage_uses_up_no_file_descriptors() -> None:
    """Attempts that fail leave no socket open, also where the garbage collector never runs."""
    counts = run(
        """
        import gc, os
        from gamekeeper.schemas.errors import BrokerError
        from gamekeeper.stream.tap import transport

        transport.BLOCK_MS = 50
        gc.disable()
        tried = transport.KafkaTransport("127.0.0.1:PORT")
        for _ in range(5):
            try:
                tried.open()
            except BrokerError:
                print(len(os.listdir("/proc/self/fd")))
        """.replace("PORT", str(ports.reserve()))
    ).split()
    assert len(counts) == 5
    assert len(set(counts)) == 1
