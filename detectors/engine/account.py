"""One account's live state for one model: its detectors, their standings and its counters.

What is saved follows the detectors' contract: segments of their append-only logs first, then one
small header. A header restored together with its live segments gives the same account.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gamekeeper.detectors.base import Batch, Detector, Floats, Segment
from gamekeeper.detectors.catalog import build
from gamekeeper.detectors.engine.policy import Standing
from gamekeeper.detectors.engine.profile import Profile
from gamekeeper.schemas.errors import StateError


class _DetectorHeader(msgspec.Struct, array_like=True):
    """A detector's part of the header; `setup` is what its state depends on."""

    setup: str
    state: bytes
    standing: Standing


class _Header(msgspec.Struct, array_like=True):
    """The account's header row."""

    codec: int
    queries: int
    first_time: int
    detectors: dict[str, _DetectorHeader]


CODEC = 1
_DECODER = msgspec.msgpack.Decoder(_Header)


class Account:
    """The detectors that watch one account's queries to one model, and what they think of it.

    `queries` counts the queries seen, `first_time` is the first one's event time (us). `retired`
    holds open findings of detectors that an earlier profile had, and this one has not or has with
    other options or another network.
    """

    def __init__(self, profile: Profile) -> None:
        self.queries = 0
        self.first_time = 0
        self.detectors: dict[str, Detector] = {}
        self.standings: dict[str, Standing] = {}
        self.retired: dict[str, Standing] = {}
        self._setups: dict[str, str] = {}
        for each in profile.detectors:
            self.detectors[each.detector] = build(each.detector, each.options)
            self.standings[each.detector] = Standing()
            self._setups[each.detector] = profile.setup(each)

    def update(self, batch: Batch) -> dict[str, Floats]:
        """Let all detectors take `n` queries; return each one's `(n,)` statistics.

        For whoever judges the statistics himself: no alarm is raised and no detector reset.
        """
        found = {name: detector.update(batch) for name, detector in self.detectors.items()}
        self.queries += len(batch)
        return found

    def open(self) -> list[str]:
        """Name the detectors that have an open finding."""
        return [name for name, each in self.standings.items() if each.finding is not None]

    def drain(self) -> list[tuple[str, Segment]]:
        """Hand out what the detectors' logs gained since the last call: `(detector, segment)`."""
        return [
            (name, segment)
            for name, detector in self.detectors.items()
            for segment in detector.drain()
        ]

    def horizon(self) -> dict[tuple[str, str], int]:
        """Say, per detector and log, up to which position segments may be deleted."""
        return {
            (name, log): position
            for name, detector in self.detectors.items()
            for log, position in detector.horizon().items()
        }

    def header(self) -> bytes:
        """Encode the small rest of the state; call after `drain()`."""
        parts = {
            name: _DetectorHeader(self._setups[name], detector.header(), self.standings[name])
            for name, detector in self.detectors.items()
        }
        return msgspec.msgpack.encode(_Header(CODEC, self.queries, self.first_time, parts))

    def load(self, header: bytes, segments: Sequence[tuple[str, Segment]]) -> None:
        """Restore a fresh account; `segments` in the order of each detector's log.

        A detector that the saved state lacks, or whose options have changed since, starts afresh;
        the standing of the one before it is `retired`. Raises `StateError` where bytes cannot be
        read.
        """
        try:
            saved = _DECODER.decode(header)
        except msgspec.MsgspecError as error:
            raise StateError(f"account header cannot be read: {error}") from error
        if saved.codec != CODEC:
            raise StateError(f"account header has codec {saved.codec}; this version reads {CODEC}")
        self.queries = saved.queries
        self.first_time = saved.first_time
        for name, part in saved.detectors.items():
            if part.setup != self._setups.get(name):
                self.retired[name] = part.standing
                continue
            self.standings[name] = part.standing
            own = [segment for owner, segment in segments if owner == name]
            self.detectors[name].load(part.state, own)
