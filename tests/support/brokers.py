"""The brokers that integration tests run against: embedded, Apache Kafka, or a given cluster."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from pathlib import Path

from gamekeeper.stream.kafka import HOST, EmbeddedBroker, LoopbackBroker
from support import ports

SERVER = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{advertised}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
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
UUID = "Z2FtZWtlZXBlcnRlc3QwMA"  # any 16 bytes in base64: the test cluster's id


class KafkaBroker(LoopbackBroker):
    """One Apache Kafka node that is broker and controller; its data survives stop and kill."""

    def __init__(self, home: Path, port: int = 0, session: int = PATIENT) -> None:
        """Prepare a node from the jars in `home/libs`.

        Without a sign of life for `session` milliseconds the controller takes the broker for dead.
        """
        super().__init__(port)
        self.advertised = self.port
        self._session = session
        self._java = ["java", *BRIEF, "-cp", f"{home}/libs/*"]
        self._folder: Path | None = None

    def command(self) -> list[str]:
        """Say how to run the node, formatting its storage in a temporary folder the first time."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="gamekeeper-kafka-"))
            self._format(self._folder)
        return [*self._java, "kafka.Kafka", str(self._folder / "server.properties")]

    def _format(self, folder: Path) -> None:
        config, controller = folder / "server.properties", ports.reserve()
        config.write_text(
            SERVER.format(
                host=HOST,
                port=self.port,
                advertised=self.advertised,
                controller=controller,
                data=folder / "data",
                session=self._session,
            )
        )
        subprocess.run(
            [*self._java, "kafka.tools.StorageTool", "format", "-t", UUID, "-c", config],
            check=True,
            capture_output=True,
            timeout=300,
        )

    def __exit__(self, *_: object) -> None:
        """End and remove the data."""
        self.kill()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


class GivenCluster:
    """A cluster that somebody else runs; tests that stop brokers do not use it."""

    def __init__(self, address: str) -> None:
        """Take its bootstrap address."""
        self.address = address

    def __enter__(self) -> GivenCluster:
        """Do nothing: it runs already."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave it as it is."""


Broker = LoopbackBroker | GivenCluster


def kafka_home() -> Path | None:
    """Find Apache Kafka's folder: `KAFKA_HOME`, if it holds the jars."""
    home = os.environ.get("KAFKA_HOME")
    return Path(home) if home and (Path(home) / "libs").is_dir() else None


def kinds() -> list[str]:
    """Name the brokers that tests run against here."""
    if os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        return ["given"]
    return local_kinds()


def local_kinds() -> list[str]:
    """Name the brokers that tests can stop and start themselves."""
    return ["embedded", "kafka"] if kafka_home() else ["embedded"]


def local_broker(kind: str, port: int = 0, session: int = SHORT) -> LoopbackBroker:
    """Prepare an own broker, to be entered: for tests that kill and restart it."""
    home, port = kafka_home(), port or ports.reserve()
    return KafkaBroker(home, port, session) if kind == "kafka" and home else EmbeddedBroker(port)


def make_broker(kind: str, port: int = 0) -> Broker:
    """Prepare the broker of a kind, to be entered; or name the one that has the port already."""
    if kind == "given":
        return GivenCluster(os.environ["KAFKA_BOOTSTRAP_SERVERS"])
    return local_broker(kind, port, PATIENT)


class Names:
    """Names that no other test uses, so that tests can share a broker.

    Call it for a fresh one: `names("queries")` is like `queries-1f0c...`; the same kind gives
    the same name within one test.
    """

    def __init__(self) -> None:
        """Draw the test's suffix."""
        self.suffix = uuid.uuid4().hex[:12]

    def __call__(self, kind: str) -> str:
        """Name something of a kind: a topic, an app, a group."""
        return f"{kind}-{self.suffix}"

    @property
    def app(self) -> str:
        """The app's and group's id."""
        return self("app")

    @property
    def environ(self) -> dict[str, str]:
        """The settings' variables that give the five topics and the app the test's own names."""
        topics = {
            f"GAMEKEEPER_TOPIC_{kind.upper().replace('-', '_')}": self(kind)
            for kind in ("queries", "verdicts", "scores", "dead-letters", "profiles")
        }
        return {"GAMEKEEPER_APP_ID": self.app, **topics}
