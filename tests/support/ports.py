"""Loopback ports that are one test's own on the whole machine, before anything listens there."""

from __future__ import annotations

import random
import socket

from gamekeeper.stream.kafka.broker import port_is_free

# Below the ports that the product chooses by itself, and those of outgoing connections.
PORTS = range(12_000, 20_000)
_held: list[socket.socket] = []


def reserve() -> int:
    """Choose a free port that no process of any test run is given again while this one lives.

    That nothing listens on a port yet keeps nobody else from choosing it. So each choice holds a
    name in Linux's abstract namespace, which the kernel gives once and takes back at the end of the
    process.
    """
    for port in random.SystemRandom().sample(PORTS, k=len(PORTS)):
        name = socket.socket(socket.AF_UNIX)
        try:
            name.bind(f"\0gamekeeper-test-port-{port}")
        except OSError:
            name.close()
            continue
        _held.append(name)
        if port_is_free(port):
            return port
    raise AssertionError(f"no port is left in {PORTS.start}-{PORTS.stop}")
