"""Accounts as rows: what is written after a micro-batch, and how an account comes back from it.

Each account and model has one header row and, per detector and log, segment rows numbered from 0.
Keys are MessagePack arrays: `[account, model]` for the header, `[account, model, detector, log,
number]` for a segment. The header names the live range of each log; rows outside it do not count.

Rows go to the changelog partition of the account's events in this order: new segments, the header,
then deletions of segments that the detector has forgotten, and of the header that an earlier owner
of the partition wrote (see `changelog`). The changelog keeps that order, so what survives a crash
is a prefix of it:

* A header's segments were written before it, and are deleted only after a later header that does
  not need them. Every header that can survive finds all of its segments.
* Segments beyond the surviving header are leftovers of a batch that was not finished. Its events
  are delivered again, and the numbers are given out again.
* The header holds the last offset applied. Events up to it are not applied again. It says nothing
  about another topic's events, nor about those of another life of the topic: where the service has
  been told to read another one, or the topic was made anew, the account goes on from its state with
  the first of them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from gamekeeper.detectors.base import Segment
from gamekeeper.detectors.engine import Account, Key, Outcome, Profile, Source
from gamekeeper.schemas.errors import StateError
from gamekeeper.stream.worker.changelog import Stored, Tenure
from gamekeeper.stream.worker.footprint import footprint
from gamekeeper.stream.worker.noting import note
from gamekeeper.stream.worker.row_codec import (
    CODEC,
    Get,
    Header,
    Noted,
    Range,
    Row,
    decode_header,
    decode_piece,
    digest,
    encode,
    header_key,
    pieces,
    segment_key,
)

PLACE = 250
"""Bytes of an account's places in the dictionaries of the store and the engine, by tracemalloc."""
GROWTH = 8
"""An account is weighed again when it has one in so many queries more: that takes as long as to
score several, and what it holds grows no faster than they do."""
FEW = 16
"""Queries of a micro-batch that do not change by themselves what an account holds."""


class _Log:
    """The live rows of one log in memory: row `first + i` ends at `ends[i]`, of `epochs[i]`."""

    __slots__ = ("ends", "epochs", "first")

    def __init__(self, first: int = 0) -> None:
        self.first = first
        self.ends: list[int] = []
        self.epochs: list[int] = []

    @property
    def next(self) -> int:
        return self.first + len(self.ends)


class Entry:
    """One hot account: its live state, and what of it is stored where.

    `bytes` is what it held in memory when it was last weighed, `profile` the hash of the one that
    judges it, and `noted` what it has done since, where that profile makes a promise.
    """

    __slots__ = (
        "_logs",
        "_promised",
        "_seen",
        "_setups",
        "_tenure",
        "_useless",
        "_weigh_at",
        "_written",
        "account",
        "bytes",
        "key",
        "noted",
        "offset",
        "partition",
        "profile",
        "topic",
    )

    def __init__(self, key: Key, profile: Profile, source: Source, tenure: Tenure) -> None:
        self.key = key
        self._tenure = tenure
        self.account = Account(profile)
        self.profile = profile.hash
        self.noted: Noted | None = None
        self._promised = profile.promise.alpha is not None
        self.topic = source.topic
        self.partition = source.partition
        self.offset = -1
        self.bytes = 0
        self._seen = 0
        self._weigh_at = 0
        self._setups = {name: digest(setup) for name, setup in self.account.setups.items()}
        self._logs: dict[tuple[str, str], _Log] = {}
        self._useless: list[tuple[bytes, int]] = []
        self._written: int | None = None  # the epoch that the stored header is of

    def restore(self, stored: Stored, get: Get) -> None:
        """Take over the header row's account; `StateError` where the header cannot be read.

        A detector whose own rows cannot be read, or are not all there, begins anew, as `lost` of
        the account says. Rows of another partition are not this account's: another sequence of
        events made them.
        """
        self._written = stored.epoch
        try:
            header = decode_header(stored.data)
            if header.codec != CODEC:
                raise StateError(f"row has codec {header.codec}; this version reads {CODEC}")
            if header.partition != self.partition:
                return
            self.account.load(header.account, list(self._segments(header.ranges, get)))
            self.noted = header.noted
            for each in header.ranges:
                if each.detector in self.account.lost:
                    self._abandon(each, get)
        except (msgspec.MsgspecError, StateError) as error:
            raise StateError(f"account {self.key[0]!r}, model {self.key[1]!r}: {error}") from error
        if (header.topic, header.life) == (self.topic, self._tenure.life):
            self.offset = header.offset  # another one's offsets count something else

    def _segments(self, ranges: Iterable[Range], get: Get) -> Iterator[tuple[str, Segment]]:
        """Read all live segments, noting where they are."""
        for each in ranges:
            if self._setups.get(each.detector) != each.setup:
                self._abandon(each, get)
                continue
            beyond = each.leftovers(self.key, get)
            self._useless.extend(left for left in beyond if left[1] != self._tenure.epoch)
            try:
                yield from ((each.detector, segment) for segment in self._read(each, get))
            except (msgspec.MsgspecError, StateError) as error:
                self.account.lost[each.detector] = f"{each.log}: {error}"

    def _abandon(self, each: Range, get: Get) -> None:
        """Let the detector start afresh: numbers go on, so that new rows keep clear of these."""
        self._logs[each.detector, each.log] = _Log(each.next)
        found = ((row, get(row)) for row in each.keys(self.key))
        self._useless.extend((row, there.epoch) for row, there in found if there)

    def _read(self, each: Range, get: Get) -> Iterator[Segment]:
        log = self._logs[each.detector, each.log] = _Log(each.first)
        data = b""
        for row in each.keys(self.key):
            stored = get(row)
            if stored is None:
                raise StateError(f"row {log.next} is missing")
            piece = decode_piece(stored.data)
            log.ends.append(piece.end)
            log.epochs.append(stored.epoch)
            data += piece.data
            if not piece.more:
                yield Segment(each.log, piece.end, data)
                data = b""

    def rows(self) -> Iterator[Row]:
        """Give the rows that store all that changed since the last call, in their order."""
        partition, epoch = self.partition, self._tenure.epoch
        for detector, segment in self.account.drain():
            log = self._logs.setdefault((detector, segment.log), _Log())
            for piece in pieces(segment):
                row_key = segment_key(self.key, detector, segment.log, log.next)
                yield Row("segment", partition, row_key, encode(piece), epoch)
                log.ends.append(segment.end)
                log.epochs.append(epoch)
        self._useless.extend(self._forgotten())
        header = header_key(self.key)
        if self._written not in (None, epoch):
            self._useless.append((header, self._written))
        self._written = epoch
        yield Row("header", partition, header, encode(self._header()), epoch)
        for key, writer in self._useless:
            yield Row("delete", partition, key, None, writer)
        self._useless = []

    def note(self, outcomes: Sequence[Outcome]) -> None:
        """Note what events have led to, for the promise that the profile makes."""
        if self._promised:
            for outcome in outcomes:
                self.noted = note(self.noted, self.profile, outcome)

    def weigh(self) -> None:
        """Measure what the account holds in memory, unless it has hardly changed since.

        Detectors keep what they know of a batch's rows until the next, for evidence: after many
        rows the next few change much.
        """
        queries = self.account.queries
        fresh, self._seen = queries - self._seen, queries
        if queries >= self._weigh_at or fresh < 0:  # or it has begun anew
            self.bytes = footprint(self) + PLACE
            share = queries // GROWTH
            self._weigh_at = queries + 1 + (0 if fresh > max(FEW, share) else share)

    def _header(self) -> Header:
        ranges = [
            Range(detector, self._setups[detector], name, log.first, log.next)
            for (detector, name), log in self._logs.items()
            if detector in self._setups
        ]
        account = self.account.header()
        life = self._tenure.life
        noted = self.noted if self._promised else None
        return Header(CODEC, self.topic, self.partition, self.offset, ranges, account, life, noted)

    def _forgotten(self) -> Iterator[tuple[bytes, int]]:
        """Take forgotten rows out of the live ranges; give their keys and epochs."""
        for (detector, name), position in self.account.horizon().items():
            log = self._logs.get((detector, name))
            if log is None:
                continue
            count = bisect_right(log.ends, position)
            for number, epoch in enumerate(log.epochs[:count], log.first):
                yield segment_key(self.key, detector, name, number), epoch
            del log.ends[:count], log.epochs[:count]
            log.first += count
