#!/usr/bin/env bash
# Faust's look for partitions that hang ends the worker where one has no position for a moment.
#
# Seen with faust-streaming 0.15.3 on aiokafka 0.14.0. Every few seconds, and only to log what hangs,
# Faust's consumer reads the position of each assigned partition. aiokafka has none while it asks for
# a new one, as when the records that were to be read next have expired or the log was cut off, and
# its property then fails an assertion. Faust catches nothing there: its consumer crashes, and with
# it the worker. Here a partition of aiokafka's own state is looked at twice: with a position, and
# after the reset that an offset out of range leads to.
#
# Gamekeeper's worker (stream/worker/reader.py) does without that look: readiness and the lag tell.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --disable-pip-version-check \
  faust-streaming==0.15.3 aiokafka==0.14.0 "click<8.4"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import asyncio
import time
from types import SimpleNamespace

import faust
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.protocol.offset import OffsetResetStrategy
from faust.types import TP


async def main() -> None:
    app = faust.App("reader", broker="kafka://127.0.0.1:9")
    place = TP("t", 0)
    subscriptions = SubscriptionState()
    subscriptions.subscribe({"t"})
    subscriptions.assign_from_subscribed({place})
    state = subscriptions.subscription.assignment.state_value(place)
    state.timestamp, state.highwater = time.time() * 1000, 100  # as a fetch leaves it
    consumer = app.consumer
    consumer._thread.time_started = time.monotonic()
    consumer._thread._consumer = SimpleNamespace(
        _fetcher=SimpleNamespace(_subscriptions=subscriptions)
    )
    state.seek(40)
    consumer.verify_event_path(time.monotonic(), place)
    print("with a position: nothing is raised")
    state.await_reset(OffsetResetStrategy.EARLIEST)
    try:
        consumer.verify_event_path(time.monotonic(), place)
    except AssertionError:
        print("while it is reset: AssertionError")
    else:
        raise SystemExit("while it is reset: nothing is raised")


asyncio.run(main())
PYTHON
echo "as told above: faust-streaming 0.15.3 reads a position that is not there"
