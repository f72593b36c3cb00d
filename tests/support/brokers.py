"""The brokers that integration tests run against: embedded, Apache Kafka, or a given cluster."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from gamekeeper.stream.kafka import EmbeddedBroker, LoopbackBroker
from support import ports
from support.kafka_nodes import PATIENT, SHORT, KafkaBroker


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
