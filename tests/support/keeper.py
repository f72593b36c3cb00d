"""The brokers that a test run shares, kept by the process that pytest was started in.

Tests run in several processes. Each asks the keeper for a kind of broker and is told its address;
the keeper starts a kind when it is first asked for, once, and ends all when the run ends. However
it ends: a broker does not outlive the process that has started it.
"""

from __future__ import annotations

import secrets
import tempfile
import threading
from contextlib import ExitStack, suppress
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Listener
from pathlib import Path

from gamekeeper.schemas.errors import BrokerError
from support import brokers

Contact = tuple[str, bytes]
"""A socket's path, and the key to it."""


class Keeper:
    """Starts a broker of each kind that is asked for; `close` ends them."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._running: dict[str, brokers.Broker] = {}
        self._lock = threading.Lock()
        self._stack = ExitStack()

    def close(self) -> None:
        """Answer nobody any more, and end all brokers."""
        self._stack.close()
        self._running.clear()

    def get(self, kind: str) -> brokers.Broker:
        """Return the running broker of a kind."""
        with self._lock:
            if kind not in self._running:
                self._running[kind] = self._stack.enter_context(brokers.make_broker(kind))
            return self._running[kind]

    def listen(self) -> Contact:
        """Answer other processes from now on, in a thread."""
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="gamekeeper-tests-"))
        contact = str(Path(folder) / "keeper"), secrets.token_bytes(16)
        listener = self._stack.enter_context(Listener(contact[0], "AF_UNIX", authkey=contact[1]))
        thread = threading.Thread(target=self._answer, args=(listener,), daemon=True)
        thread.start()
        self._stack.callback(thread.join)
        self._stack.callback(_ask, contact, None)
        return contact

    def _answer(self, listener: Listener) -> None:
        kind: str | None = ""
        while kind is not None:
            with suppress(OSError, EOFError, AuthenticationError), listener.accept() as connection:
                kind = connection.recv()
                if kind is not None:
                    connection.send(self._found(kind))

    def _found(self, kind: str) -> str | BrokerError:
        try:
            return self.get(kind).address
        except BrokerError as error:
            return error


def ask(contact: Contact, kind: str) -> brokers.Broker:
    """Ask the keeper in another process for a kind of broker, which then runs."""
    answer = _ask(contact, kind)
    if isinstance(answer, BrokerError):
        raise answer
    return brokers.make_broker(kind, int(str(answer).rpartition(":")[2]))


def _ask(contact: Contact, kind: str | None) -> object:
    with Client(contact[0], "AF_UNIX", authkey=contact[1]) as connection:
        connection.send(kind)
        return connection.recv() if kind is not None else None
