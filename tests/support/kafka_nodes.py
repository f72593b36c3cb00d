"""Apache Kafka's nodes as tests run them: one alone, or three that keep each other's records."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from kafka.errors import KafkaError

from gamekeeper.schemas.errors import BrokerError
from gamekeeper.stream.kafka import HOST, LoopbackBroker, Settings, admin
from support import ports
from support.workers import wait_for

SERVER = """\
process.roles=broker,controller
node.id={node}
controller.quorum.voters={voters}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{advertised}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
min.insync.replicas={least}
offsets.topic.replication.factor={copies}
offsets.topic.num.partitions=4
transaction.state.log.replication.factor={copies}
transaction.state.log.min.isr={least}
share.coordinator.state.topic.replication.factor={copies}
share.coordinator.state.topic.min.isr={least}
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
broker.heartbeat.interval.ms=500
broker.session.timeout.ms={session}
"""
# For a life of seconds: the first compiler's code is good enough, and one thread collects garbage.
BRIEF = ["-Xms128m", "-Xmx350m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
# A killed broker can come back when its session is over; one that has no core for a while, and is
# not to be killed, must not be taken for dead.
SHORT, PATIENT = 2_000, 30_000
NODES = 3
FORMATTED: dict[int, dict[str, bytes]] = {}
"""What a node's storage begins with, by the node's place: it takes a Java process to make it."""
UUID = "Z2FtZWtlZXBlcnRlc3QwMA"  # any 16 bytes in base64: the test cluster's id


class KafkaBroker(LoopbackBroker):
    """One Apache Kafka node that is broker and controller; its data survives stop and kill."""

    def __init__(
        self,
        home: Path,
        port: int = 0,
        session: int = PATIENT,
        controllers: Sequence[int] = (),
        place: int = 0,
    ) -> None:
        """Prepare a node from the jars in `home/libs`: alone, or the one at a place of several.

        Without a sign of life for `session` milliseconds the controller takes the broker for dead.
        `controllers` are the ports at which all nodes of a cluster elect one of them.
        """
        super().__init__(port)
        self.advertised = self.port
        self._session = session
        self._controllers = controllers or [ports.reserve()]
        self._place = place
        self._java = ["java", *BRIEF, "-cp", f"{home}/libs/*"]
        self._folder: Path | None = None

    def command(self) -> list[str]:
        """Say how to run the node, formatting its storage in a temporary folder the first time."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="gamekeeper-kafka-"))
            self._format(self._folder)
        return [*self._java, "kafka.Kafka", str(self._folder / "server.properties")]

    def _format(self, folder: Path) -> None:
        """Write the settings and the storage: Kafka's tool makes that once for each place."""
        config, data, nodes = folder / "server.properties", folder / "data", self._controllers
        config.write_text(
            SERVER.format(
                node=self._place + 1,
                voters=",".join(f"{each}@{HOST}:{port}" for each, port in enumerate(nodes, 1)),
                copies=len(nodes),
                least=len(nodes) // 2 + 1,
                host=HOST,
                port=self.port,
                advertised=self.advertised,
                controller=nodes[self._place],
                data=data,
                session=self._session,
            )
        )
        if self._place in FORMATTED:
            data.mkdir()
            for name, content in FORMATTED[self._place].items():
                (data / name).write_bytes(content)
            return
        subprocess.run(
            [*self._java, "kafka.tools.StorageTool", "format", "-t", UUID, "-c", config],
            check=True,
            capture_output=True,
            timeout=300,
        )
        FORMATTED[self._place] = {each.name: each.read_bytes() for each in data.iterdir()}

    def log(self, topic: str, partition: int) -> Path:
        """Give the file with a partition's records."""
        assert self._folder is not None
        (log,) = (self._folder / "data" / f"{topic}-{partition}").glob("*.log")
        return log

    def lose(self, topic: str, partition: int, size: int) -> None:
        """Lose a log's records beyond a size, which a power cut kept from the disk."""
        log = self.log(topic, partition)
        os.truncate(log, size)
        for index in (log.with_suffix(".index"), log.with_suffix(".timeindex")):
            index.unlink()

    def __exit__(self, *_: object) -> None:
        """End and remove the data."""
        self.kill()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


class KafkaCluster:
    """Three nodes, each with a copy of every record, of which two are enough to write.

    Each of `nodes` can be killed and started again. A context manager: entered when all three
    answer and know each other, left when all are gone.
    """

    def __init__(self, home: Path) -> None:
        """Prepare the nodes from the jars in `home/libs`."""
        controllers = [ports.reserve() for _ in range(NODES)]
        self.nodes = [
            KafkaBroker(home, ports.reserve(), SHORT, controllers, place) for place in range(NODES)
        ]

    @property
    def address(self) -> str:
        """The bootstrap addresses of all nodes."""
        return ",".join(node.address for node in self.nodes)

    def start(self) -> None:
        """Start the nodes that do not run, at once: alone, none of them answers."""
        self._at_once(KafkaBroker.start)

    def kill(self) -> None:
        """End all nodes as a power cut would."""
        self._at_once(KafkaBroker.kill)

    def whole(self) -> bool:
        """Say whether all nodes belong to it, and every partition has all of its copies."""
        try:
            with admin(Settings(brokers=self.address)) as client:
                known = len(client.describe_cluster()["brokers"])
                topics = client.describe_topics()
        except (BrokerError, KafkaError):
            return False
        partitions = [each for topic in topics for each in topic["partitions"]]
        return known == NODES and all(
            len(each["isr_nodes"]) == len(each["replica_nodes"]) for each in partitions
        )

    def _at_once(self, act: Callable[[KafkaBroker], object]) -> None:
        with ThreadPoolExecutor(NODES) as pool:
            list(pool.map(act, self.nodes))

    def __enter__(self) -> Self:
        """Start all nodes."""
        try:
            self.start()
            wait_for(self.whole)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End all nodes and remove their data."""
        self._at_once(KafkaBroker.__exit__)
