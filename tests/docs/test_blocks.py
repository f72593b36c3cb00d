"""The pages' examples that are marked to run do run, as they stand and in their order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from gamekeeper.stream.kafka import EmbeddedBroker
from support import ports
from support.pages import PAGES, blocks

RUNNING = sorted(
    (page for page in PAGES if any(block.marker for block in blocks(page))),
    key=lambda page: -len(blocks(page)),
)
"""The longest first: who runs tests in several processes waits for it while others run."""
PATIENCE = 900
"""Seconds that a block may take on a busy machine."""


@pytest.mark.parametrize("page", RUNNING)
def test_marked_blocks_run(page: str, tmp_path: Path) -> None:
    """A page's marked blocks run one after the other, in one folder, with a broker on loopback."""
    run(page, tmp_path)


def test_every_command_of_the_tutorial_runs() -> None:
    """But for the installation and the broker, which are the tests' own, nothing is left out."""
    tutorial = blocks("docs/tutorial.md")
    left = [block.text for block in tutorial if not block.marker and block.language != "text"]
    assert [text.split()[:2] for text in left] == [["make", "demo"], ["gamekeeper", "broker"]]


def test_tap_examples_fit_the_code() -> None:
    """The examples of tapping a server define what they say, on a stand-in for network and app."""
    names: dict[str, object] = {"network": lambda images: images, "app": object()}
    for marker, language, text in blocks("docs/how-to/tap.md"):
        if language == "python" and not marker:
            exec(text, names)  # connects to nothing: no request is recorded
    assert {"answer", "predict", "app"} <= set(names)


def run(page: str, folder: Path) -> None:
    """Run a page's marked blocks in a folder; what they run beside ends with the page."""
    with EmbeddedBroker() as broker, ExitStack() as beside:
        environ = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1",
            "KAFKA_BOOTSTRAP_SERVERS": broker.address,
            "GAMEKEEPER_PARTITIONS": "2",
            "GAMEKEEPER_HTTP_PORT": str(ports.reserve()),
            # The embedded broker waits for about half of this when a group forms.
            "GAMEKEEPER_SESSION_TIMEOUT": "3",
            "GAMEKEEPER_REBALANCE_TIMEOUT": "6",
            "GAMEKEEPER_SINK_SECONDS": "1",
        }
        for marker, language, text in blocks(page):
            if marker == "runs":
                runner = ["bash", "-euo", "pipefail"] if language == "sh" else [sys.executable]
                to_its_end([*runner, "-c", text], folder, environ)
            elif marker == "runs beside":
                for line in text.splitlines():
                    beside.enter_context(running_on(line, folder, environ))
            elif marker:
                (folder / marker.removeprefix("saves: ")).write_text(text)


def to_its_end(command: list[str], folder: Path, environ: dict[str, str]) -> None:
    """Run a block; fail with what it said, and leave nothing behind that it has started."""
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as block:
        try:
            said, complained = block.communicate(timeout=PATIENCE)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(block.pid, signal.SIGKILL)
    assert block.returncode == 0, f"{command[-1]}\n{said}\n{complained}"


@contextmanager
def running_on(line: str, folder: Path, environ: dict[str, str]) -> Iterator[None]:
    """Let a command run on; it must not end by itself, and must end well when it is asked to."""
    log = folder / f"beside-{len(list(folder.glob('beside-*')))}.log"
    with (
        log.open("w") as out,
        subprocess.Popen(
            ["bash", "-c", f"exec env {line}"],
            cwd=folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        ) as process,
    ):
        try:
            yield
            assert process.poll() is None, f"{line} ended: {log.read_text()}"
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0, f"{line}: {log.read_text()}"
        finally:
            process.kill()
