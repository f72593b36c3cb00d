"""The command line: quick to answer, short when it fails."""

from __future__ import annotations

import importlib.metadata
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gamekeeper.stream.cli.root import COMMANDS, main
from gamekeeper.stream.kafka.broker import answers, port_is_free
from support import ports
from support.commands import find
from support.processes import python, spawned

HEAVY = ("faust", "kafka", "pyarrow", "duckdb", "numpy", "rich", "scipy")
CALL = "from gamekeeper.stream.cli.main import main; main()"


def run(*arguments: str, **environ: str) -> Result:
    """Run the command line in this process."""
    return CliRunner(env=environ).invoke(main, arguments)


def test_help_lists_all_and_imports_nothing_heavy() -> None:
    """`--help` names each subcommand without loading what it needs."""
    code = (
        "import sys; from gamekeeper.stream.cli.main import main; main(standalone_mode=False); "
        f"sys.exit(any(name in sys.modules for name in {HEAVY!r}))"
    )
    done = python(code, "--help")
    assert done.returncode == 0, done.stderr
    for name, entry in COMMANDS.items():
        assert f"  {name} " in done.stdout
        assert entry.help.split()[0] in done.stdout
    assert "Example:" in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_each_help_ends_with_an_example(name: str) -> None:
    """Each subcommand is there, explains itself and shows how it is used."""
    shown = run(name, "--help")
    assert shown.exit_code == 0, shown.output
    assert "Example" in shown.output
    assert f"gamekeeper {name}" in shown.output


@pytest.mark.parametrize("name", COMMANDS)
def test_no_line_of_a_list_of_commands_is_cut_off(name: str) -> None:
    """The first sentence of each command says what it does on one line of a terminal."""
    shown = CliRunner().invoke(main, [name, "--help"], terminal_width=80).output
    listed = shown.partition("Commands:")[2]
    assert not [line for line in listed.splitlines() if line.endswith("...")]


def test_version() -> None:
    """`--version` prints the installed version."""
    assert run("--version").output.strip().endswith(importlib.metadata.version("gamekeeper"))


def test_usage_errors_exit_with_2() -> None:
    """A command or option that is not there is the caller's mistake."""
    assert run("nothing").exit_code == 2
    assert run("topics", "plan", "--colour").exit_code == 2
    assert run("topics", "apply", "--partitions", "0").exit_code == 2


def test_our_errors_are_one_line_and_exit_with_1() -> None:
    """What goes wrong on purpose is said on stderr, without a traceback."""
    done = python(CALL, "topics", "plan", GAMEKEEPER_PARTITIONS="many")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("Error: GAMEKEEPER_PARTITIONS='many': wanted a whole number")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("missing", "command", "extra"),
    [("rich", "topics", "service"), ("kafka", "topics", "service")],
)
def test_a_missing_distribution_names_the_extra(missing: str, command: str, extra: str) -> None:
    """Without what a subcommand imports, the extra to install is said."""
    code = f"import sys; sys.modules[{missing!r}] = None; {CALL}"
    done = python(code, command, "--help")
    assert done.returncode == 1
    assert f"gamekeeper[{extra}]" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_click_the_command_says_what_to_install() -> None:
    """The tap alone brings the console command but not click."""
    done = python(f"import sys; sys.modules['click'] = None; {CALL}", "--help")
    assert done.returncode == 1
    assert "gamekeeper[service]" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.broker
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_broker_runs_until_it_is_told_to_stop(end: signal.Signals) -> None:
    """`gamekeeper broker` prints its address, answers there and leaves the port when it ends."""
    port = ports.reserve()
    command = [sys.executable, "-c", CALL, "broker", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == f"127.0.0.1:{port}"
        assert answers(port)
        process.send_signal(end)
        assert process.wait(180) == 0
        assert port_is_free(port)
    finally:
        process.kill()
        process.communicate()


SIGNAL = "import os, signal; end = lambda *_, **__: os.kill(os.getpid(), signal.{0})\n"
STARTS = {
    "serve": "import gamekeeper.stream.worker.serve as s; s.check_topics = end",
    "sink": "import gamekeeper.stream.sink.member as s; s.require_topic = end",
    "broker": "import gamekeeper.stream.kafka.broker as s; s.answers = lambda port: end() is None",
}


@pytest.mark.parametrize("end", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("name", STARTS)
def test_a_signal_while_it_starts_ends_a_service_well(name: str, end: str, tmp_path: Path) -> None:
    """What runs until it is told to stop may be told so at any time."""
    environ = {"GAMEKEEPER_DATA_DIR": str(tmp_path), "GAMEKEEPER_HTTP_PORT": str(ports.reserve())}
    with spawned(name, environ=environ, before=SIGNAL.format(end) + STARTS[name]) as process:
        stdout, stderr = process.communicate(timeout=180)
    assert process.returncode == 0, stderr
    assert "Traceback" not in stdout + stderr


@pytest.mark.broker
def test_the_broker_says_what_comes_next() -> None:
    """The address is the one line of stdout; stderr has the variable and the next commands."""
    command = [sys.executable, "-c", CALL, "broker", "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        process.terminate()
        stdout, stderr = process.communicate(timeout=180)
    assert stdout == ""
    assert f"export KAFKA_BOOTSTRAP_SERVERS={address}" in stderr
    for line in stderr.splitlines():
        if line.startswith("  gamekeeper "):
            find(line.partition("#")[0].split()[1:])


@pytest.mark.broker
def test_a_taken_port_is_said() -> None:
    """A second broker on the port ends with the reason."""
    from gamekeeper.stream.kafka import EmbeddedBroker

    with EmbeddedBroker() as broker:
        second = python(CALL, "broker", "--port", str(broker.port))
    assert second.returncode == 1
    assert "is taken" in second.stderr
