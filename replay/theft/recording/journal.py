"""The answers that an interrupted attack has already paid for."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import msgspec
import numpy as np

from gamekeeper.replay.theft import Answers, Images
from gamekeeper.schemas.errors import TraceError

_TABLES = """
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = OFF;
CREATE TABLE IF NOT EXISTS plan (digest BLOB);
CREATE TABLE IF NOT EXISTS answers (
    request INTEGER PRIMARY KEY, digest BLOB, classes INTEGER, labels BLOB, probabilities BLOB
);
"""
"""One owner at a time. What is committed outlives a killed process, without waiting for the disk
at every request; a machine that dies may lose the last of it, which is asked again."""


class Journal:
    """A SQLite file of answers, one row per request, to be used as a context manager.

    An attack follows its seed, so it can be run again from its start with the answers of the first
    run. `plan` names everything that the queries depend on. Raises `TraceError` where the file
    is of another plan, damaged or in use, or where the attack asks something else than it did.
    """

    def __init__(self, path: Path, plan: object) -> None:
        self._path = path
        self._plan = hashlib.sha256(msgspec.json.encode(plan, order="sorted")).digest()
        self._request = 0

    def __enter__(self) -> Journal:
        """Open the file of an earlier run, or a new one."""
        with self._mapped():
            self._file = sqlite3.connect(self._path, timeout=1.0, isolation_level=None)
        try:
            self._begin()
        except TraceError:
            self._file.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Close the file."""
        self._file.close()

    def _begin(self) -> None:
        with self._mapped():
            self._file.executescript(_TABLES)
            plans = self._file.execute("SELECT digest FROM plan").fetchall()
            if not plans:
                self._file.execute("INSERT INTO plan VALUES (?)", (self._plan,))
        if plans not in ([], [(self._plan,)]):
            raise TraceError(
                f"{self._path} is of an attack with other options: give the same, or delete it"
            )

    def recall(self, images: Images) -> Answers | None:
        """Give the answers to the next request, or None where the earlier run ended."""
        with self._mapped():
            row = self._file.execute(
                "SELECT digest, classes, labels, probabilities FROM answers WHERE request = ?",
                (self._request,),
            ).fetchone()
        if row is None:
            return None
        digest, classes, labels, probabilities = row
        if digest != _digest(images):
            raise TraceError(
                f"{self._path} does not fit: the attack now asks something else; was another "
                "version installed? Delete the file to start again"
            )
        self._request += 1
        return Answers(
            np.frombuffer(labels, np.int64).copy(),
            np.frombuffer(probabilities, np.float32).reshape(-1, classes).copy(),
        )

    def keep(self, images: Images, answers: Answers) -> None:
        """Note the answers to one request."""
        probabilities = answers.probabilities.astype(np.float32)
        row = (
            self._request,
            _digest(images),
            probabilities.shape[1],
            answers.labels.astype(np.int64).tobytes(),
            probabilities.tobytes(),
        )
        with self._mapped():
            self._file.execute("INSERT INTO answers VALUES (?, ?, ?, ?, ?)", row)
        self._request += 1

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise TraceError(
                f"{self._path}: cannot be used: {error}; does another attack write there?"
            ) from error
        except sqlite3.DatabaseError as error:
            raise TraceError(
                f"{self._path} is damaged: {error}; delete it to start the attack again"
            ) from error


def _digest(images: Images) -> bytes:
    return hashlib.sha256(repr(images.shape).encode() + images.tobytes()).digest()
