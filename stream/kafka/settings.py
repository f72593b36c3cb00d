"""The service's settings, all from the environment; secrets from files it names."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_type_hints

import msgspec
from msgspec import Meta

from gamekeeper.schemas.errors import SettingsError
from gamekeeper.schemas.text import Secret
from gamekeeper.stream.kafka.security import Security

PREFIX = "GAMEKEEPER_"
BROKERS = "KAFKA_BOOTSTRAP_SERVERS"
STATE_TABLE = "state"
ASSEMBLED = ("brokers", "topics", "security")  # fields that no variable of their own name sets
# Kafka's own default for `max.message.bytes` is 1 MiB, a query event's limit 8 MiB; the rest is
# room for its headers and its record batch.
MAX_MESSAGE_BYTES = 8 * 1024 * 1024 + 64 * 1024

Count = Annotated[int, Meta(ge=1, description="a whole number from 1")]
Amount = Annotated[int, Meta(ge=0, description="a whole number from 0")]
Replication = Annotated[int, Meta(ge=1, le=32767, description="a whole number from 1 to 32767")]
Port = Annotated[int, Meta(ge=0, le=65535, description="a port from 0 to 65535")]
Seconds = Annotated[float, Meta(gt=0, le=86400, description="seconds above 0, at most 86400")]
Name = Annotated[
    str,
    Meta(
        pattern=r"^(?!\.{1,2}$)[a-zA-Z0-9._-]{1,200}$",
        description="1 to 200 letters, digits, '.', '_' or '-'",
    ),
]
Servers = Annotated[
    str,
    Meta(
        pattern=r"^\s*[^\s,:]+:\d+(\s*,\s*[^\s,:]+:\d+)*\s*$",
        description="host:port, more than one separated by commas",
    ),
]
Flag = Annotated[bool, Meta(description="true or false")]
Store = Annotated[Literal["rocksdb", "memory"], Meta(description="rocksdb or memory")]


class Topics(msgspec.Struct, frozen=True, kw_only=True):
    """The names of the five topics."""

    queries: Name = "gamekeeper.queries"
    verdicts: Name = "gamekeeper.verdicts"
    scores: Name = "gamekeeper.scores"
    dead_letters: Name = "gamekeeper.dead-letters"
    profiles: Name = "gamekeeper.profiles"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the service can be told; see `from_env` for the variables."""

    brokers: Servers = "127.0.0.1:9092"
    topics: Topics = Topics()
    security: Security = Security()
    app_id: Name = "gamekeeper"
    scores: Flag = False
    partitions: Count = 8
    replication: Replication = 1
    data_dir: Path = Path("gamekeeper-data")
    store: Store = "rocksdb"
    profile: str = ""
    session_timeout: Seconds = 10.0
    rebalance_timeout: Seconds = 30.0
    batch_events: Count = 4096
    batch_wait_ms: Amount = 5
    hot_accounts: Count = 10_000
    hot_bytes: Count = 2 * 1024 * 1024 * 1024
    http_host: str = "127.0.0.1"
    http_port: Port = 6066
    sink_records: Count = 20_000
    sink_bytes: Count = 64 * 1024 * 1024
    sink_seconds: Seconds = 30.0
    sink_http_port: Port = 0

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Read the settings; `SettingsError` names the variable and what it should be.

        Kafka:

        * `KAFKA_BOOTSTRAP_SERVERS`: the cluster, `host:port,host:port`.
        * `GAMEKEEPER_SECURITY_PROTOCOL`: `PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`.
        * `GAMEKEEPER_SASL_MECHANISM`: `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
        * `GAMEKEEPER_SASL_USERNAME`: the user.
        * `GAMEKEEPER_SASL_PASSWORD_FILE`: a file that holds the password, rather than
        * `GAMEKEEPER_SASL_PASSWORD`: the password itself.
        * `GAMEKEEPER_TLS_CA_FILE`: PEM file of trusted authorities; without it, the system's.
        * `GAMEKEEPER_TLS_CERT_FILE`: the client's own certificate.
        * `GAMEKEEPER_TLS_KEY_FILE`: and its key.
        * `GAMEKEEPER_TLS_KEY_PASSWORD_FILE`: a file that holds the key's password, rather than
        * `GAMEKEEPER_TLS_KEY_PASSWORD`: the password itself.

        Topics:

        * `GAMEKEEPER_TOPIC_QUERIES`: the topic that taps write and workers read.
        * `GAMEKEEPER_TOPIC_VERDICTS`: where findings are opened, updated and closed.
        * `GAMEKEEPER_TOPIC_SCORES`: where every statistic goes, if `GAMEKEEPER_SCORES` says so.
        * `GAMEKEEPER_TOPIC_DEAD_LETTERS`: where what does not follow the contract goes.
        * `GAMEKEEPER_TOPIC_PROFILES`: where profiles and their networks are, for all workers; one
          partition.
        * `GAMEKEEPER_PARTITIONS`: partitions of each topic: the most workers that share the load.
        * `GAMEKEEPER_REPLICATION`: copies of each topic; 3 in production.

        The worker:

        * `GAMEKEEPER_APP_ID`: consumer group, and prefix of the changelog topic.
        * `GAMEKEEPER_PROFILE`: path of the profile to begin with, its networks beside it; without
          one, hardened PRADA, uncalibrated. Where one rules already, only `gamekeeper profile
          announce` changes it.
        * `GAMEKEEPER_SCORES`: whether every statistic goes to the scores topic.
        * `GAMEKEEPER_DATA_DIR`: folder of a worker's local state; also where `sink`, `sql` and
          `verdicts` look for tables when no option says so.
        * `GAMEKEEPER_STORE`: `rocksdb`, or `memory`: state is restored from the changelog at each
          start.
        * `GAMEKEEPER_HOT_ACCOUNTS`: accounts kept in memory; others are rebuilt from their rows.
          After 10,000 queries an account may take 27 MB (28x28 pixels) or 65 MB (32x32x3) with
          three detectors.
        * `GAMEKEEPER_HOT_BYTES`: the most bytes of memory for those accounts, at every moment;
          only an account that alone takes more goes beyond, and one that is in the middle of a
          large event. The process takes some 200 MB besides.
        * `GAMEKEEPER_BATCH_EVENTS`: the most events that wait in memory, and so in a micro-batch.
          An account that has more than half of what is free of it is held back.
        * `GAMEKEEPER_BATCH_WAIT_MS`: the longest wait for them, in milliseconds.
        * `GAMEKEEPER_SESSION_TIMEOUT`: seconds until a dead worker's partitions move.
        * `GAMEKEEPER_REBALANCE_TIMEOUT`: seconds that workers get to rejoin.
        * `GAMEKEEPER_HTTP_HOST`: where health and metrics are served.
        * `GAMEKEEPER_HTTP_PORT`: and on which port; one for each worker of a machine.

        The sink:

        * `GAMEKEEPER_SINK_RECORDS`: the most records in one of its files.
        * `GAMEKEEPER_SINK_BYTES`: the most bytes in one.
        * `GAMEKEEPER_SINK_SECONDS`: and the longest wait for them, in seconds.
        * `GAMEKEEPER_SINK_HTTP_PORT`: the port of its health and metrics, at
          `GAMEKEEPER_HTTP_HOST`; 0 serves none.
        """
        _refuse_misspelt(environ)
        fields = _read(cls, environ)
        if environ.get(BROKERS):
            fields["brokers"] = _convert(BROKERS, environ[BROKERS], Servers).replace(" ", "")
        fields["topics"] = Topics(**_read(Topics, environ, "TOPIC_"))
        fields["security"] = Security(**_read(Security, environ))
        settings = cls(**fields)
        settings.security.check()
        return settings

    @property
    def changelog(self) -> str:
        """The compacted topic that holds the worker's state; Faust's name for it."""
        return f"{self.app_id}-{STATE_TABLE}-changelog"

    @property
    def heartbeat(self) -> float:
        """Seconds between heartbeats: a third of the session timeout, as Kafka advises."""
        return self.session_timeout / 3


def _refuse_misspelt(environ: Mapping[str, str]) -> None:
    """Name a variable that is nearly one of ours: it would be ignored in silence.

    Others are let be; Kubernetes itself sets `GAMEKEEPER_SERVICE_HOST` and the like.
    """
    known = variables()
    for variable in sorted(environ):
        if variable.startswith(PREFIX) and variable not in known:
            close = difflib.get_close_matches(variable, known, n=1, cutoff=0.9)
            if close:
                raise SettingsError(f"{variable} is no setting; did you mean {close[0]}?")


def variables() -> list[str]:
    """Name all variables that `from_env` reads."""
    secrets = [name for name, kind in _fields(Security).items() if kind is Secret]
    return [
        BROKERS,
        *(_variable(name) for name in [*_fields(Settings), *_fields(Security)]),
        *(_variable(name) + "_FILE" for name in secrets),
        *(_variable(name, "TOPIC_") for name in _fields(Topics)),
    ]


def _fields(struct: type[msgspec.Struct]) -> dict[str, Any]:
    hints = get_type_hints(struct, include_extras=True)
    return {name: kind for name, kind in hints.items() if name not in ASSEMBLED}


def _variable(field: str, infix: str = "") -> str:
    return f"{PREFIX}{infix}{field.upper()}"


def _read(
    struct: type[msgspec.Struct], environ: Mapping[str, str], infix: str = ""
) -> dict[str, Any]:
    """Convert the variables of a struct's fields; an empty one counts as not set."""
    known = {_variable(name, infix): (name, kind) for name, kind in _fields(struct).items()}
    values: dict[str, Any] = {}
    for variable, (name, kind) in known.items():
        if kind is Secret:
            values[name] = _secret(variable, environ)
        elif environ.get(variable):
            values[name] = _convert(variable, environ[variable], kind)
    return values


def _convert(variable: str, text: str, kind: Any) -> Any:
    if kind is Path:
        return Path(text)
    try:
        return msgspec.convert(text.strip(), kind, strict=False)
    except msgspec.ValidationError as error:
        meta = next((m for m in getattr(kind, "__metadata__", ()) if isinstance(m, Meta)), None)
        wanted = meta.description if meta is not None else str(error)
        raise SettingsError(f"{variable}={text!r}: wanted {wanted}") from error


def _secret(variable: str, environ: Mapping[str, str]) -> Secret:
    path = environ.get(variable + "_FILE", "")
    if not path:
        return Secret(environ.get(variable, ""))
    if environ.get(variable):
        raise SettingsError(f"{variable} and {variable}_FILE are both set; keep the file")
    try:
        return Secret(Path(path).read_text(encoding="utf-8").rstrip("\r\n"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"{variable}_FILE={path}: cannot be read; it should hold the secret alone ({error})"
        ) from error
