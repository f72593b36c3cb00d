"""kafka-python's clients built from the settings, their errors said in our words."""

from __future__ import annotations

import importlib.util
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, errors

from gamekeeper.schemas.errors import AbsentError, BrokerError
from gamekeeper.stream.kafka.settings import BROKERS, MAX_MESSAGE_BYTES, Settings

# Long enough for a broker that restarts or elects a leader, short enough for who waits at a prompt.
PATIENCE_MS = 15_000
# Where no address takes a connection for so long, there is no broker to be patient with.
REACH_SECONDS = 1.0
# What to do about an error, the first that fits.
ADVICE: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (
    (
        (errors.UnknownTopicOrPartitionError, errors.InvalidTopicError),
        "create the topics with `gamekeeper topics apply`",
    ),
    (
        errors.AuthorizationError,
        "let this user read, write and describe it in the cluster's access rules",
    ),
    (
        (
            errors.SaslAuthenticationFailedError,
            errors.UnsupportedSaslMechanismError,
            errors.IllegalSaslStateError,
        ),
        "check GAMEKEEPER_SASL_MECHANISM, _USERNAME and _PASSWORD_FILE",
    ),
    (
        (errors.MessageSizeTooLargeError, errors.RecordListTooLargeError),
        f"send fewer rows in a request, or raise the topic's max.message.bytes "
        f"({MAX_MESSAGE_BYTES} in `gamekeeper topics apply`)",
    ),
    (
        (errors.OffsetOutOfRangeError, errors.NoOffsetForPartitionError),
        "the topic's retention has removed it; lengthen retention.ms, or start with a new group",
    ),
    (
        (errors.CommitFailedError, errors.IllegalGenerationError, errors.UnknownMemberIdError),
        "another member has taken the partition over; lengthen GAMEKEEPER_SESSION_TIMEOUT if this "
        "comes often",
    ),
    (
        (errors.NotEnoughReplicasError, errors.NotEnoughReplicasAfterAppendError),
        "bring the missing brokers back, or lower min.insync.replicas",
    ),
    (
        (errors.InvalidReplicationFactorError,),
        "the cluster has fewer brokers than GAMEKEEPER_REPLICATION (or --replication) asks for",
    ),
    (
        (errors.UnsupportedVersionError,),
        "this broker cannot do that; Apache Kafka from 2.4 can",
    ),
)
ABSENT = (
    "start one with `gamekeeper broker`, or name yours with "
    f"{BROKERS} (or --brokers, where a command has it)"
)
# A refused password or certificate looks the same: kafka-python tries again until it times out.
UNREACHABLE = (
    "if no broker runs there, start one with `gamekeeper broker`, or name yours with "
    f"{BROKERS} (or --brokers, where a command has it); else check GAMEKEEPER_SECURITY_PROTOCOL, "
    "_SASL_..., _TLS_..."
)

# What passes by itself when brokers are back; all else is wrong however long one waits.
PASSING = (errors.RetriableError, errors.BrokerNotAvailableError)


@contextmanager
def broker_errors(
    brokers: str,
    doing: str,
    *,
    topic: str = "",
    partition: int | None = None,
    offset: int | None = None,
) -> Iterator[None]:
    """Turn kafka-python's errors into a `BrokerError`: what, where, and what to do next.

    `doing` completes "cannot ...", such as "commit". It is an `AbsentError` where the same may work
    later without anybody doing anything.
    """
    try:
        yield
    except errors.KafkaError as error:
        where = f" topic {topic}" if topic else ""
        where += f" partition {partition}" if partition is not None else ""
        where += f" offset {offset}" if offset is not None else ""
        advice = _advice(error)
        kind = AbsentError if isinstance(error, PASSING) else BrokerError
        raise kind(f"cannot {doing}{where} at {brokers}: {_name(error)}; {advice}") from error


def _name(error: errors.KafkaError) -> str:
    """Name the error; kafka-python's texts quote whole requests and are left to the cause."""
    text = str(error)
    return text if len(text) <= 200 else type(error).__name__


def _advice(error: errors.KafkaError) -> str:
    return next((advice for kinds, advice in ADVICE if isinstance(error, kinds)), UNREACHABLE)


def producer(settings: Settings, **options: Any) -> KafkaProducer:
    """Connect an idempotent producer that waits for all replicas; `BrokerError` if it cannot."""
    return _connect(
        KafkaProducer,
        settings,
        "producer",
        {
            "acks": "all",
            "allow_auto_create_topics": False,
            "linger_ms": 5,
            "max_block_ms": PATIENCE_MS,
            "max_request_size": MAX_MESSAGE_BYTES,
            **options,
        },
    )


def consumer(settings: Settings, group: str | None = None, **options: Any) -> KafkaConsumer:
    """Connect a consumer that starts at the oldest record and commits only when told to.

    Records of a transaction come when it is committed, and never where it is aborted.

    Subscribe or assign it afterwards. `BrokerError` if it cannot connect.
    """
    session_ms = round(settings.session_timeout * 1000)
    return _connect(
        KafkaConsumer,
        settings,
        "consumer",
        {
            "group_id": group,
            "allow_auto_create_topics": False,
            "auto_offset_reset": "earliest",
            "enable_auto_commit": False,
            "heartbeat_interval_ms": round(settings.heartbeat * 1000),
            "isolation_level": "read_committed",
            "max_partition_fetch_bytes": MAX_MESSAGE_BYTES,
            "session_timeout_ms": session_ms,
            # kafka-python tells the group's coordinator to wait this long for members to rejoin.
            "max_poll_interval_ms": max(session_ms, round(settings.rebalance_timeout * 1000)),
            **options,
        },
    )


def admin(settings: Settings, **options: Any) -> KafkaAdminClient:
    """Connect an administration client; `BrokerError` if it cannot."""
    return _connect(KafkaAdminClient, settings, "admin", options)


def _connect(kind: Any, settings: Settings, role: str, options: dict[str, Any]) -> Any:
    if importlib.util.find_spec("crc32c") is None:
        raise BrokerError(
            "the package crc32c is missing, without which checksums take longer than all else: "
            "pip install crc32c"
        )
    _reach(settings.brokers)
    with broker_errors(settings.brokers, f"connect as {role}"):
        return kind(
            **{
                "bootstrap_servers": settings.brokers.split(","),
                "bootstrap_timeout_ms": PATIENCE_MS,
                "client_id": f"{settings.app_id}-{role}",
                "reconnect_backoff_max_ms": 1_000,
                **settings.security.for_kafka_python(),
                **options,
            }
        )


def _reach(brokers: str) -> None:
    """Wait until one of the addresses takes a connection; `AbsentError` where none does soon.

    kafka-python would try for as long as it waits for a broker that is there, but slow. Threads,
    because looking a name up cannot be given a limit.
    """
    reached, ended = threading.Event(), threading.Event()
    reasons: dict[str, str] = {}
    for address in brokers.split(","):
        what = (address, reached, ended, reasons)
        threading.Thread(target=_knock, args=what, daemon=True).start()
    found = reached.wait(REACH_SECONDS)
    ended.set()
    if not found:
        why = "; ".join(sorted(set(reasons.values()))) or "no answer"
        away = errors.NodeNotReadyError(why)
        raise AbsentError(f"no broker at {brokers} ({why}): {ABSENT}") from away


def _knock(
    address: str, reached: threading.Event, ended: threading.Event, reasons: dict[str, str]
) -> None:
    """Try to connect to an address until that, or another's thread, succeeds or time is up."""
    host, _, port = address.rpartition(":")
    while not (reached.is_set() or ended.is_set()):
        try:
            socket.create_connection((host.strip("[]"), int(port)), REACH_SECONDS).close()
        except OSError as error:
            reasons[address] = error.strerror or str(error)
            ended.wait(0.1)
        else:
            reached.set()
