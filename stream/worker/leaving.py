"""An end that does not depend on Kafka.

Faust and aiokafka stop by talking to brokers, for as long as these do not answer. By then a
worker's last micro-batch is finished, or given up, and its offsets are committed, if that is
possible at all; whatever is left undone is what a kill leaves undone, too, and harms nothing.
"""

from __future__ import annotations

import os
import threading

import structlog

log = structlog.get_logger("gamekeeper.stream")

LEAVE_SECONDS = 10.0  # with brokers that answer it takes two or three


def leave_soon(status: int) -> None:
    """End the process, `LEAVE_SECONDS` from now, with a status, unless it has ended before."""
    timer = threading.Timer(LEAVE_SECONDS, _leave, [status])
    timer.daemon = True
    timer.start()


def _leave(status: int) -> None:
    log.warning("Kafka does not answer; leaving without taking leave of it")
    os._exit(status)
