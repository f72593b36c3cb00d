"""`gamekeeper serve`, and Faust's own command on the same app."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer
from click.testing import CliRunner
from mode.worker import Worker as ModeWorker

from gamekeeper.schemas.errors import BrokerError, SettingsError
from gamekeeper.stream.cli.serve import serve
from gamekeeper.stream.kafka import Settings, apply
from gamekeeper.stream.worker.claims import claim_folder
from gamekeeper.stream.worker.serve import check_topics
from support import ports
from support.brokers import Broker, Names
from support.crashing import make_trace
from support.processes import spawned
from support.workers import (
    SERVE,
    Worker,
    all_applied,
    environ_for,
    prepare,
    read,
    send,
    wait_for,
)

FULL_DISK = """
import gamekeeper.stream.worker.outbox
write = gamekeeper.stream.worker.outbox.Outbox.write
async def fail(self, rows):
    if any(row.kind == "header" for row in rows):
        raise OSError("disk is full")
    return await write(self, rows)
gamekeeper.stream.worker.outbox.Outbox.write = fail
"""
NEVER_COMMIT = """
import gamekeeper.stream.worker.consumer
async def commit(self, *args, **options):
    return False
gamekeeper.stream.worker.consumer.Consumer.commit = commit
"""
FAUST = [sys.executable, "-m", "faust", "-A", "gamekeeper.stream.worker.app", "worker"]


@pytest.fixture
def environ(broker: Broker, names: Names, tmp_path: Path) -> dict[str, str]:
    """A worker's environment with the test's own topics."""
    return environ_for(broker.address, names.environ, tmp_path / "data")


def test_help_ends_in_an_example() -> None:
    """The help says what it does and ends in a line to copy."""
    result = CliRunner().invoke(serve, ["--help"])
    assert result.exit_code == 0
    assert "Example: " in result.output
    assert result.output.rstrip().endswith("gamekeeper serve")


def test_a_taken_port_is_said(tmp_path: Path) -> None:
    """Before anything is started, in one line, with the variable."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        environ = {"GAMEKEEPER_HTTP_PORT": port, "GAMEKEEPER_DATA_DIR": str(tmp_path)}
        with spawned("serve", environ=environ) as process:
            _, stderr = process.communicate(timeout=180)
    assert process.returncode == 1
    assert stderr.startswith(
        f"Error: GAMEKEEPER_HTTP_PORT={port}: cannot serve health on 127.0.0.1"
    )
    assert len(stderr.splitlines()) == 1


def test_a_folder_of_another_worker_is_refused(tmp_path: Path) -> None:
    """Two workers on one folder would write over each other; one that has ended left it free."""
    environ = {"GAMEKEEPER_HTTP_PORT": str(ports.reserve()), "GAMEKEEPER_DATA_DIR": str(tmp_path)}
    settings = Settings.from_env(environ)
    with claim_folder(settings), spawned("serve", environ=environ) as process:
        _, stderr = process.communicate(timeout=180)
    assert process.returncode == 1
    assert stderr.startswith(f"Error: GAMEKEEPER_DATA_DIR={tmp_path}: another worker")
    assert len(stderr.splitlines()) == 1
    claim_folder(settings).close()


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    """A file in the way is named with the variable."""
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="GAMEKEEPER_DATA_DIR="):
        claim_folder(Settings(data_dir=tmp_path / "file" / "state"))


@pytest.mark.broker
def test_missing_topics_are_said(environ: Mapping[str, str]) -> None:
    """Without topics there is no waiting in silence: the error names them and the command."""
    settings = Settings.from_env(environ)
    with pytest.raises(BrokerError, match=r"is missing.*gamekeeper topics apply"):
        check_topics(settings)
    apply(settings)
    check_topics(settings)


@pytest.mark.broker
def test_another_number_of_partitions_is_said(environ: dict[str, str]) -> None:
    """Topics with other partitions than the settings are named before any work is done."""
    prepare(environ)
    environ["GAMEKEEPER_PARTITIONS"] = "6"
    with pytest.raises(BrokerError, match="GAMEKEEPER_PARTITIONS"):
        check_topics(Settings.from_env(environ))


@pytest.mark.broker
def test_life_of_a_worker(environ: dict[str, str]) -> None:
    """Alive before it is ready, ready, stopped by SIGTERM with status 0, its logs all JSON."""
    settings = prepare(environ)
    all_applied(settings)  # a broker's first group is told to ask again, which is no error
    with Worker(environ) as worker:
        wait_for(lambda: worker.get("/livez")[0] == 200)
        wait_for(worker.ready)
        send(settings, make_trace(300))
        wait_for(lambda: worker.metric("gamekeeper_queries_total") == 300)
        assert worker.metric("gamekeeper_recovering") == 0
        assert worker.terminate() == 0
        assert all_applied(settings)
        lines = [json.loads(line) for line in worker.logged().splitlines()]
        assert not [line for line in lines if line["level"] in ("error", "critical")]
        told = [line for line in lines if line["event"] == "verdict"]
        assert {each["finding"] for each in told} == {
            json.loads(each.value)["finding"] for each in read(settings, settings.topics.verdicts)
        }
        assert all(each["statistic"] > each["threshold"] for each in told)


@pytest.mark.broker
def test_faust_runs_it_too(environ: dict[str, str]) -> None:
    """`faust -A gamekeeper.stream.worker.app` is the same worker, without Faust's web server."""
    settings = prepare(environ)
    send(settings, make_trace(300))
    command = [*FAUST, "--web-port", "1"]  # nobody may listen there: it would fail
    with Worker(environ, command) as worker:
        wait_for(worker.ready)
        wait_for(lambda: all_applied(settings))
        assert worker.metric("gamekeeper_queries_total") == 300
        assert worker.terminate() == 0


@pytest.mark.broker
def test_what_cannot_be_written_ends_the_worker(environ: dict[str, str]) -> None:
    """Where state cannot be saved, the process ends with an error and its events are not lost."""
    settings = prepare(environ)
    send(settings, make_trace(300))
    with Worker(environ, [sys.executable, "-c", FULL_DISK + SERVE]) as worker:
        wait_for(lambda: not worker.alive())
        assert worker.terminate() == 1
        assert "disk is full" in worker.logged()
    assert not all_applied(settings)
    with Worker(environ) as worker:
        wait_for(lambda: all_applied(settings))
        assert worker.metric("gamekeeper_queries_total") == 300


def test_private_names_are_there() -> None:
    """Those that are replaced so that nothing is waited for; what is gone would tell nobody."""
    assert "_fetch_max_wait_ms" in AIOKafkaConsumer.start.__code__.co_names
    assert "_sentinel_task" in ModeWorker._shutdown_loop.__code__.co_names


@pytest.mark.broker
def test_death_before_the_first_commit_loses_nothing(
    environ: dict[str, str], tmp_path: Path
) -> None:
    """State without committed offsets: what was applied is skipped, what was not is applied."""
    settings = prepare(environ)
    first, second = make_trace(300), make_trace(300, seed=1)
    send(settings, first)
    with Worker(environ, [sys.executable, "-c", NEVER_COMMIT + SERVE]) as worker:
        wait_for(lambda: worker.metric("gamekeeper_queries_total") == 300)
        worker.kill()
    send(settings, second)
    other = {**environ, "GAMEKEEPER_DATA_DIR": str(tmp_path / "other")}
    with Worker(environ) as worker, Worker(other) as beside:
        wait_for(lambda: all_applied(settings))
        both = worker, beside  # with two, Faust reads changelogs while it goes back in the queries
        skipped = [each.metric("gamekeeper_events_total", outcome="skipped") for each in both]
        assert sum(skipped) >= len(first)
        assert sum(each.metric("gamekeeper_queries_total") for each in both) == 300
