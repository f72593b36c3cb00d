"""The answers that an interrupted attack has already paid for."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import TracebackType

import msgspec
import numpy as np

from gamekeeper.replay.theft import Answers, Images
from gamekeeper.schemas.errors import TraceError


class _Entry(msgspec.Struct, array_like=True):
    digest: bytes
    classes: int
    labels: bytes
    probabilities: bytes


class Journal:
    """A file of answers, one entry per request, to be used as a context manager.

    An attack follows its seed, so it can be run again from its start with the answers of the first
    run. `plan` names everything that the queries depend on. Raises `TraceError` where the file
    is of another plan, or where the attack asks something else than it did.
    """

    def __init__(self, path: Path, plan: object) -> None:
        self._path = path
        self._plan = hashlib.sha256(msgspec.json.encode(plan, order="sorted")).digest()

    def __enter__(self) -> Journal:
        """Read the entries of an earlier run and open the file to go on."""
        data = self._path.read_bytes() if self._path.exists() else b""
        if data and data[: len(self._plan)] != self._plan:
            raise TraceError(
                f"{self._path} is of an attack with other options: give the same, or delete it"
            )
        entries, whole = _entries(data, len(self._plan))
        self._earlier = iter(entries)
        self.recalled = len(entries)
        """How many requests an earlier run had made."""
        self._file = self._path.open("r+b" if data else "wb")
        self._file.truncate(whole if data else 0)
        self._file.seek(whole if data else 0)
        if not data:
            self._file.write(self._plan)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Close the file."""
        self._file.close()

    def recall(self, images: Images) -> Answers | None:
        """Give the answers to the next request, or None where the earlier run ended."""
        entry = next(self._earlier, None)
        if entry is None:
            return None
        if entry.digest != _digest(images):
            raise TraceError(
                f"{self._path} does not fit: the attack now asks something else; was another "
                "version installed? Delete the file to start again"
            )
        probabilities = np.frombuffer(entry.probabilities, np.float32)
        return Answers(
            np.frombuffer(entry.labels, np.int64).copy(),
            probabilities.reshape(-1, entry.classes).copy(),
        )

    def keep(self, images: Images, answers: Answers) -> None:
        """Note the answers to one request."""
        probabilities = answers.probabilities.astype(np.float32)
        entry = _Entry(
            _digest(images),
            probabilities.shape[1],
            answers.labels.astype(np.int64).tobytes(),
            probabilities.tobytes(),
        )
        frame = msgspec.msgpack.encode(entry)
        self._file.write(len(frame).to_bytes(8, "little") + frame)
        self._file.flush()


def _digest(images: Images) -> bytes:
    return hashlib.sha256(repr(images.shape).encode() + images.tobytes()).digest()


def _entries(data: bytes, at: int) -> tuple[list[_Entry], int]:
    """Decode the whole frames; a last one that was cut short is left out."""
    entries = []
    while at + 8 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 8], "little")
        if end > len(data):
            break
        entries.append(msgspec.msgpack.decode(data[at + 8 : end], type=_Entry))
        at = end
    return entries, at
