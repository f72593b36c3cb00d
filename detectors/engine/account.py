"""One account's live state for one model: its detectors, their standings and its counters.

What is saved follows the detectors' contract: segments of their append-only logs first, then one
small header. A header restored together with its live segments gives the same account.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import msgspec
import numpy as np

from gamekeeper.detectors.base import Batch, Detector, Floats, Segment
from gamekeeper.detectors.catalog import build
from gamekeeper.detectors.engine.declared import NAME as DECLARED
from gamekeeper.detectors.engine.declared import Declared
from gamekeeper.detectors.engine.habits import DeclaredHabit
from gamekeeper.detectors.engine.policy import Standing
from gamekeeper.detectors.engine.profile import Profile
from gamekeeper.detectors.engine.repeats import NAME as REPEATS
from gamekeeper.detectors.engine.repeats import Given, Repeats
from gamekeeper.schemas.errors import StateError


class _DetectorHeader(msgspec.Struct, array_like=True):
    """A detector's part of the header; `setup` is what its state depends on."""

    setup: str
    state: bytes
    standing: Standing


class _RepeatsHeader(msgspec.Struct, array_like=True):
    """The repeats' part of the header."""

    setup: str
    state: bytes


class _DeclaredHeader(msgspec.Struct, array_like=True):
    """The declared habit's part of the header."""

    state: Declared
    standing: Standing


class _Header(msgspec.Struct, array_like=True):
    """The account's header row."""

    codec: int
    queries: int
    first_time: int
    detectors: dict[str, _DetectorHeader]
    last_time: int = 0
    repeats: _RepeatsHeader | None = None
    declared: _DeclaredHeader | None = None


class Seen(NamedTuple):
    """What is known of a saved account without its detectors.

    `last_time` is as the account has it; `suspected` says whether a finding is open.
    """

    last_time: int
    suspected: bool


CODEC = 1
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Header).decode


class Account:
    """The detectors that watch one account's queries to one model, and what they think of it.

    `queries` counts the queries seen, `first_time` is the first one's event time (us), `last_time`
    the latest of all, 0 in state of builds that did not note it. `retired` holds open findings of
    detectors that an earlier profile had, and this one has not or has with other options or another
    network. `lost` names the detectors whose saved state could not be read, and why: they began
    anew. `repeats` knows which queries came before, where a detector is not given these; `setups`
    says what each part's saved state depends on. `declared` is how it keeps to its declared habit,
    if it has one; that has a standing, too.
    """

    def __init__(self, profile: Profile) -> None:
        self._options = {each.detector: each.options for each in profile.detectors}
        self.queries = 0
        self.first_time = 0
        self.last_time = 0
        self.detectors: dict[str, Detector] = {}
        self.standings: dict[str, Standing] = {}
        self.retired: dict[str, Standing] = {}
        self.declared: Declared | None = None
        self.lost: dict[str, str] = {}
        self.setups: dict[str, str] = {}
        for each in profile.detectors:
            self._begin(each.detector)
            self.standings[each.detector] = Standing()
            self.setups[each.detector] = profile.setup(each)
        reach = max(each.distinct for each in self.detectors.values())
        self.repeats = Repeats(reach) if reach else None
        if self.repeats:
            self.setups[REPEATS] = self.repeats.setup

    def _begin(self, name: str) -> None:
        self.detectors[name] = build(name, self._options[name])

    def given(self, batch: Batch) -> dict[str, Given]:
        """Note `n` queries; say by detector which of them it is given."""
        whole = Given(batch, np.arange(len(batch)))
        fresh = self.repeats.given(batch) if self.repeats else whole
        return {name: fresh if each.distinct else whole for name, each in self.detectors.items()}

    def update(self, batch: Batch) -> dict[str, Floats]:
        """Let all detectors take `n` queries; return each one's `(n,)` statistics, NaN for repeats.

        For whoever judges the statistics himself: no alarm is raised and no detector reset.
        """
        found: dict[str, Floats] = {}
        given = self.given(batch)
        for name in self.in_order:
            own = self.reading(name, given[name], found)
            found[name] = np.full(len(batch), np.nan)
            found[name][own.rows] = self.detectors[name].update(own.batch)
        self.queries += len(batch)
        return found

    @property
    def in_order(self) -> list[str]:
        """Name the detectors, those that read others' statistics last."""
        return sorted(self.detectors, key=lambda name: bool(self.detectors[name].reads))

    def reading(self, name: str, given: Given, statistics: Mapping[str, Floats]) -> Given:
        """Add to what a detector is given the others' statistics, if it reads them."""
        reads = self.detectors[name].reads
        if not reads:
            return given
        read = np.column_stack([statistics[each] for each in reads])
        return given._replace(batch=replace(given.batch, statistics=read[given.rows]))

    def begin_anew(self, name: str) -> None:
        """Reset a detector, and those that it reads: what they say is what it was told.

        One with an open finding of its own is left as it is.
        """
        reset = {name, *self.detectors[name].reads}.difference(self.open()) | {name}
        for each in reset:
            self.detectors[each].reset()

    def forget(self) -> None:
        """Begin anew, as an account that was never seen."""
        self.queries = self.first_time = self.last_time = 0
        if self.repeats:
            self.repeats.clear()
        self.revoke()
        for name, detector in self.detectors.items():
            detector.reset()
            self.standings[name] = Standing()

    def declare(self, habit: DeclaredHabit) -> Declared:
        """Let a declaration hold: where it is another one than before, from now on."""
        if self.declared is None or self.declared.terms != habit.terms:
            self.declared = Declared(habit.terms)
            self.standings[DECLARED] = Standing()
        return self.declared

    def revoke(self) -> None:
        """Let no declaration hold."""
        self.declared = None
        self.standings.pop(DECLARED, None)

    def open(self) -> list[str]:
        """Name the detectors that have an open finding."""
        return [name for name, each in self.standings.items() if each.finding is not None]

    def drain(self) -> list[tuple[str, Segment]]:
        """Hand out what the logs gained since the last call: `(detector, segment)`."""
        return [(name, segment) for name, part in self._parts() for segment in part.drain()]

    def _parts(self) -> Iterator[tuple[str, Detector | Repeats]]:
        """Give all that keeps logs, by name."""
        yield from self.detectors.items()
        if self.repeats:
            yield REPEATS, self.repeats

    def horizon(self) -> dict[tuple[str, str], int]:
        """Say, per detector and log, up to which position segments may be deleted."""
        return {
            (name, log): position
            for name, part in self._parts()
            for log, position in part.horizon().items()
        }

    def header(self) -> bytes:
        """Encode the small rest of the state; call after `drain()`."""
        parts = {
            name: _DetectorHeader(self.setups[name], detector.header(), self.standings[name])
            for name, detector in self.detectors.items()
        }
        repeats = None
        if self.repeats:
            repeats = _RepeatsHeader(self.repeats.setup, self.repeats.header())
        declared = None
        if self.declared:
            declared = _DeclaredHeader(self.declared, self.standings[DECLARED])
        first, last = self.first_time, self.last_time
        return _encode(_Header(CODEC, self.queries, first, parts, last, repeats, declared))

    def load(self, header: bytes, segments: Sequence[tuple[str, Segment]]) -> None:
        """Restore a fresh account; `segments` in the order of each detector's log.

        A detector that the saved state lacks, or whose options have changed since, starts afresh;
        the standing of the one before it is `retired`. So does one that is in `lost`, as its
        segments are not all there, and one whose state cannot be read, as where another build wrote
        it in another form: that is noted in `lost`; the standing is kept. Raises `StateError` where
        the header itself cannot.
        """
        saved = _decoded(header)
        self.last_time = saved.last_time
        self.queries = saved.queries
        self.first_time = saved.first_time
        if saved.declared:
            self.declared = saved.declared.state
            self.standings[DECLARED] = saved.declared.standing
        for name, part in saved.detectors.items():
            if part.setup != self.setups.get(name):
                self.retired[name] = part.standing
                continue
            self.standings[name] = part.standing
            if name not in self.lost:
                self._load(name, part.state, [each for owner, each in segments if owner == name])
        if saved.repeats and saved.repeats.setup == self.setups.get(REPEATS):
            own = [each for owner, each in segments if owner == REPEATS]
            self._load_repeats(saved.repeats.state, own)

    def _load_repeats(self, state: bytes, segments: Sequence[Segment]) -> None:
        assert self.repeats is not None
        if REPEATS not in self.lost:
            try:
                self.repeats.load(state, segments)
            except StateError as error:
                self.lost[REPEATS] = str(error)
        if REPEATS in self.lost:
            self.repeats = Repeats(self.repeats.capacity)  # what was read of it is half a state

    def _load(self, name: str, state: bytes, segments: Sequence[Segment]) -> None:
        try:
            self.detectors[name].load(state, segments)
        except StateError as error:
            self.lost[name] = str(error)
            self._begin(name)  # what was read of it is half a state


def seen(header: bytes) -> Seen:
    """Say what a saved header tells of its account; raises `StateError`."""
    saved = _decoded(header)
    standings = [each.standing for each in saved.detectors.values()]
    standings += [saved.declared.standing] if saved.declared else []
    return Seen(saved.last_time, any(each.finding is not None for each in standings))


def forgotten(header: bytes) -> bytes:
    """Give the header of the account when all but the time of its last query is forgotten."""
    return _encode(_Header(CODEC, 0, 0, {}, _decoded(header).last_time))


def _decoded(header: bytes) -> _Header:
    try:
        saved = _decode(header)
    except msgspec.MsgspecError as error:
        raise StateError(f"account header cannot be read: {error}") from error
    if saved.codec != CODEC:
        raise StateError(f"account header has codec {saved.codec}; this version reads {CODEC}")
    return saved
