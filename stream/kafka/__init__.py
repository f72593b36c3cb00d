"""Everything that knows a Kafka cluster: settings, security, clients, topics, a broker of our own.

`settings` reads the environment for all parts; `topics` compares and makes the topics, `lives`
tells them from those that had their names before; `reader` reads one, `contents` that of profiles;
`broker` runs the embedded one.
"""

from gamekeeper.stream.kafka.broker import HOST, EmbeddedBroker, LoopbackBroker, free_port
from gamekeeper.stream.kafka.clients import (
    PASSING,
    admin,
    broker_errors,
    consumer,
    producer,
)
from gamekeeper.stream.kafka.contents import read_contents, write_contents
from gamekeeper.stream.kafka.lives import (
    LOOK_SECONDS,
    Seen,
    Watch,
    reaches,
    require_topic,
    topic_ids,
)
from gamekeeper.stream.kafka.news import Gap, News
from gamekeeper.stream.kafka.reader import Record, Start, TopicReader, open_topic
from gamekeeper.stream.kafka.security import Security
from gamekeeper.stream.kafka.settings import BROKERS, STATE_TABLE, Settings, Topics, variables
from gamekeeper.stream.kafka.topics import Step, apply, plan

__all__ = [
    "BROKERS",
    "HOST",
    "LOOK_SECONDS",
    "PASSING",
    "STATE_TABLE",
    "EmbeddedBroker",
    "Gap",
    "LoopbackBroker",
    "News",
    "Record",
    "Security",
    "Seen",
    "Settings",
    "Start",
    "Step",
    "TopicReader",
    "Topics",
    "Watch",
    "admin",
    "apply",
    "broker_errors",
    "consumer",
    "free_port",
    "open_topic",
    "plan",
    "producer",
    "reaches",
    "read_contents",
    "require_topic",
    "topic_ids",
    "variables",
    "write_contents",
]
