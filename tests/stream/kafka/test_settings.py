"""Settings: from the environment, checked, and silent about secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from gamekeeper.schemas.errors import SettingsError
from gamekeeper.stream.kafka import Settings, variables


def test_defaults_are_local_and_complete() -> None:
    """An empty environment means a broker on loopback and the documented names."""
    settings = Settings.from_env({})
    assert settings == Settings()
    assert settings.brokers == "127.0.0.1:9092"
    assert settings.topics.queries == "gamekeeper.queries"
    assert settings.topics.dead_letters == "gamekeeper.dead-letters"
    assert settings.changelog == "gamekeeper-state-changelog"
    assert settings.http_host == "127.0.0.1"
    assert settings.security.for_kafka_python() == {"security_protocol": "PLAINTEXT"}
    assert settings.security.for_faust() is None


def test_reads_every_kind_of_value() -> None:
    """Texts, numbers, flags, choices, paths, topics and servers are converted."""
    settings = Settings.from_env(
        {
            "KAFKA_BOOTSTRAP_SERVERS": "a:9092, b:9093",
            "GAMEKEEPER_TOPIC_DEAD_LETTERS": "dead",
            "GAMEKEEPER_APP_ID": "keeper",
            "GAMEKEEPER_SCORES": "true",
            "GAMEKEEPER_PARTITIONS": "3",
            "GAMEKEEPER_DATA_DIR": "/var/lib/keeper",
            "GAMEKEEPER_STORE": "memory",
            "GAMEKEEPER_SESSION_TIMEOUT": "6",
            "GAMEKEEPER_BATCH_WAIT_MS": "0",
            "GAMEKEEPER_PROFILE": "",
        }
    )
    assert settings.brokers == "a:9092,b:9093"
    assert settings.topics.dead_letters == "dead"
    assert settings.changelog == "keeper-state-changelog"
    assert settings.scores is True
    assert settings.partitions == 3
    assert settings.data_dir == Path("/var/lib/keeper")
    assert settings.store == "memory"
    assert settings.session_timeout == 6.0
    assert settings.heartbeat == 2.0
    assert settings.batch_wait_ms == 0
    assert settings.profile == ""


@pytest.mark.parametrize(
    ("variable", "value", "wanted"),
    [
        ("KAFKA_BOOTSTRAP_SERVERS", "localhost", "host:port"),
        ("KAFKA_BOOTSTRAP_SERVERS", "a:1,,b:2", "host:port"),
        ("GAMEKEEPER_TOPIC_QUERIES", "a b", "letters, digits"),
        ("GAMEKEEPER_TOPIC_QUERIES", "..", "letters, digits"),
        ("GAMEKEEPER_SCORES", "maybe", "true or false"),
        ("GAMEKEEPER_PARTITIONS", "0", "a whole number from 1"),
        ("GAMEKEEPER_PARTITIONS", "many", "a whole number from 1"),
        ("GAMEKEEPER_REPLICATION", "1.5", "a whole number from 1"),
        ("GAMEKEEPER_STORE", "redis", "rocksdb or memory"),
        ("GAMEKEEPER_SESSION_TIMEOUT", "-1", "seconds above 0"),
        ("GAMEKEEPER_SESSION_TIMEOUT", "nan", "seconds above 0"),
        ("GAMEKEEPER_HTTP_PORT", "70000", "a port"),
        ("GAMEKEEPER_SECURITY_PROTOCOL", "TLS", "PLAINTEXT, SSL"),
        ("GAMEKEEPER_SASL_MECHANISM", "GSSAPI", "SCRAM-SHA-256"),
    ],
)
def test_names_the_variable_and_what_is_wanted(variable: str, value: str, wanted: str) -> None:
    """An unusable value is an error that says where it is and how to mend it."""
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({variable: value})
    assert variable in str(caught.value)
    assert wanted in str(caught.value)


def test_a_misspelt_variable_is_named() -> None:
    """A variable that is nearly a setting is not ignored in silence."""
    with pytest.raises(SettingsError, match="did you mean GAMEKEEPER_PARTITIONS"):
        Settings.from_env({"GAMEKEEPER_PARTITION": "3"})


def test_foreign_variables_are_let_be() -> None:
    """What Kubernetes sets for a service called gamekeeper does no harm."""
    Settings.from_env(
        {
            "GAMEKEEPER_PORT": "tcp://10.0.0.1:6066",
            "GAMEKEEPER_SERVICE_HOST": "10.0.0.1",
            "GAMEKEEPER_SERVICE_PORT": "6066",
            "PATH": "/bin",
        }
    )


def test_every_variable_is_documented() -> None:
    """The docstring of `from_env` speaks of each variable, by its whole name or its tail."""
    text = Settings.from_env.__doc__ or ""
    for variable in variables():
        tail = variable.removeprefix("GAMEKEEPER_").removeprefix("TOPIC")
        assert variable in text or f"_{tail.lstrip('_')}`" in text, variable


def sasl(tmp_path: Path) -> dict[str, str]:
    """Describe a SASL login whose password lies in a file."""
    (tmp_path / "password").write_text("hunter2\n")
    return {
        "GAMEKEEPER_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "GAMEKEEPER_SASL_USERNAME": "keeper",
        "GAMEKEEPER_SASL_PASSWORD_FILE": str(tmp_path / "password"),
    }


def test_secrets_come_from_files_and_are_never_shown(tmp_path: Path) -> None:
    """The password reaches both clients, but no representation."""
    settings = Settings.from_env(sasl(tmp_path))
    options = settings.security.for_kafka_python()
    assert options["sasl_plain_password"] == "hunter2"
    assert options["sasl_mechanism"] == "SCRAM-SHA-512"
    credentials = settings.security.for_faust()
    assert (credentials.username, credentials.password) == ("keeper", "hunter2")
    shown = [repr(settings), repr(settings.security), repr(options), repr(credentials)]
    assert "hunter2" not in "".join(shown)
    assert "***" in shown[0]


def test_secrets_may_come_from_the_environment(tmp_path: Path) -> None:
    """A variable can hold the secret itself, but not beside a file."""
    environ = sasl(tmp_path)
    del environ["GAMEKEEPER_SASL_PASSWORD_FILE"]
    environ["GAMEKEEPER_SASL_PASSWORD"] = "hunter3"
    assert Settings.from_env(environ).security.sasl_password == "hunter3"
    with pytest.raises(SettingsError, match="both set"):
        Settings.from_env({**sasl(tmp_path), "GAMEKEEPER_SASL_PASSWORD": "hunter3"})


def test_an_unreadable_secret_is_named() -> None:
    """A missing secret file is an error that names variable and file."""
    with pytest.raises(SettingsError, match=r"GAMEKEEPER_SASL_PASSWORD_FILE=/nowhere"):
        Settings.from_env({"GAMEKEEPER_SASL_PASSWORD_FILE": "/nowhere"})


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"GAMEKEEPER_SECURITY_PROTOCOL": "SASL_SSL"}, "GAMEKEEPER_SASL_PASSWORD_FILE"),
        ({"GAMEKEEPER_SASL_USERNAME": "keeper"}, "must be SASL_SSL"),
        ({"GAMEKEEPER_TLS_CA_FILE": "ca.pem"}, "must be SSL or SASL_SSL"),
        (
            {"GAMEKEEPER_SECURITY_PROTOCOL": "SSL", "GAMEKEEPER_TLS_CERT_FILE": "c.pem"},
            "set both",
        ),
    ],
)
def test_contradictions_are_named(environ: dict[str, str], said: str) -> None:
    """Settings that only make sense together are checked together."""
    with pytest.raises(SettingsError, match=said):
        Settings.from_env(environ)


def test_tls_checks_the_server_and_names_bad_files(tmp_path: Path) -> None:
    """TLS verifies certificates and host names; an unusable file is named."""
    security = Settings.from_env({"GAMEKEEPER_SECURITY_PROTOCOL": "SSL"}).security
    context = security.for_kafka_python()["ssl_context"]
    assert context.check_hostname
    assert security.for_faust().context.check_hostname
    bad = tmp_path / "ca.pem"
    bad.write_text("not a certificate")
    with pytest.raises(SettingsError, match="GAMEKEEPER_TLS_CA_FILE"):
        Settings.from_env(
            {"GAMEKEEPER_SECURITY_PROTOCOL": "SSL", "GAMEKEEPER_TLS_CA_FILE": str(bad)}
        ).security.for_kafka_python()
    with pytest.raises(SettingsError, match="GAMEKEEPER_TLS_CERT_FILE"):
        Settings.from_env(
            {
                "GAMEKEEPER_SECURITY_PROTOCOL": "SSL",
                "GAMEKEEPER_TLS_CERT_FILE": str(bad),
                "GAMEKEEPER_TLS_KEY_FILE": str(bad),
            }
        ).security.for_kafka_python()
