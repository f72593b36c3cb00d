"""PRADA: are the distances between an account's queries normally distributed?

Juuti et al., "PRADA: Protecting against DNN Model Stealing Attacks", Algorithm 3. The smallest
distances of queries to the growing set of their class (`growing_set`) are collected in D, one for
all classes. Where |D| > 100, D' is D without its outliers, W the Shapiro-Wilk statistic of D', and
the detector's statistic is 1 - W: natural queries give a small one, synthetic queries a large one.
`prada_modes` says what the modes add to that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, ClassVar

import numpy as np

from gamekeeper.detectors.base import Batch, Detector, Floats, Segment
from gamekeeper.detectors.growing import DISTANCES, GrowingSet
from gamekeeper.detectors.growing import log as growth_log
from gamekeeper.detectors.header import Header
from gamekeeper.detectors.normality import (
    LARGEST_SAMPLE,
    MODES,
    READY,
    REFERENCE_EVERY,
    THRESHOLDS,
    WINDOWS,
    Sample,
)
from gamekeeper.detectors.normality import modes as prada_modes
from gamekeeper.detectors.paging import PAGE, PagedLog
from gamekeeper.schemas.errors import ProfileError
from gamekeeper.schemas.verdict import Kind

CODEC = 1
LOG = "distances"
RECORD = np.dtype(
    [
        ("label", "<i8"),
        ("query", "<i8"),
        ("nearest", "<i8"),
        ("distance", "<f8"),
        ("digest", "<u8"),  # of a query that may be repeated unseen by the growing set, else 0
    ]
)
"""A distance of D, and the pair that it belongs to."""
RECENT = 100
CLOSEST = 5


class Prada(Detector):
    """Algorithm 3 in three modes; the statistic is 1 - W, 0 to 1, NaN until |D| > 100.

    In `reference` mode it keeps its last value between the tests. In `hardened` mode a query that
    repeats a member of its class's growing set, or a query whose distance is in D and that did not
    join a growing set, is counted and says nothing: neither can repeats push others out of D, nor
    is a health check an attack. A repeat of a member that the model now puts into another class
    still counts as evidence, once.

    Bounded: the oldest distances are forgotten first, and the growing set's oldest members.

    200 honest queries, then copies of them that are one step away:

    >>> rng = np.random.default_rng(0)
    >>> honest = rng.normal(size=(200, 64))
    >>> made = honest[:40] + 0.1 * rng.choice([-1, 1], size=(40, 64))
    >>> detector = Prada()
    >>> detector.update(Batch(0, honest, np.zeros(200, int)))[[99, 199]].round(2)
    array([ nan, 0.01])
    >>> statistics = detector.update(Batch(200, made, np.zeros(40, int)))
    >>> 200 + int(np.argmax(statistics > detector.threshold))  # the first alarm
    210
    >>> closest = detector.evidence(39)["closest"][0]
    >>> closest["query"], closest["nearest"], round(closest["distance"], 2)
    (204, 4, 0.8)
    """

    name: ClassVar[str] = "prada"
    kind: ClassVar[Kind] = "variants"
    _rows: list[tuple[int, int, int]]  # of the last batch: D's end, the tested D's end, repeats

    def __init__(
        self,
        *,
        mode: str = "hardened",
        distance: str = "l2",
        window: int = 0,
        growths: int = 4096,
        megabytes: int = 64,
    ) -> None:
        """Choose the mode, the distance and the bounds of the state.

        Raises `ProfileError`.

        Args:
            mode: `hardened`, `paper` or `reference`.
            distance: `l2`, `l1`, `linf` or `cosine`: the inputs need not be images.
            window: distances that are tested, 101 to 10,000, or 0 for the mode's own: 1,000 in
                `hardened`, so that an honest past does not hide an attack, 10,000 in the others.
            growths: the most members of the growing set that are kept; the oldest go first.
            megabytes: the most that their rows take.
        """
        if mode not in MODES:
            raise ProfileError(f"prada.mode is {mode!r}; there are: {', '.join(MODES)}")
        if distance not in DISTANCES:
            raise ProfileError(f"prada.distance is {distance!r}; there are: {', '.join(DISTANCES)}")
        if window and not READY < window <= LARGEST_SAMPLE:
            raise ProfileError(
                f"prada.window is {window}; it is 0 (the mode's own) or from {READY + 1} to "
                f"{LARGEST_SAMPLE}"
            )
        self.threshold = THRESHOLDS[mode]
        self._header = Header(self.name, CODEC, [mode, distance, window, growths, megabytes])
        self._mode = mode
        self._distance = distance
        self._window = window or WINDOWS[mode]
        self._growing = GrowingSet(distance, growths, megabytes)
        self._log = PagedLog(LOG, RECORD, self._window)
        self.reset()

    def update(self, batch: Batch) -> Floats:
        """Take `n` queries; return `(n,)` statistics, NaN while |D| <= 100."""
        self._log.trim()
        steps = self._growing.update(batch.first, batch.inputs, batch.labels)
        self._sizes = steps.size
        self._rows = []
        statistics = np.empty(len(batch))
        labels, nearest = batch.labels.tolist(), steps.nearest.tolist()
        joined = steps.joined.tolist()
        for i, distance in enumerate(steps.distance.tolist()):
            if not math.isnan(distance):
                digest = 0
                if self._mode == "hardened" and not joined[i]:
                    digest = _digest(batch.inputs[i])
                if digest and (distance == 0.0 or digest in self._digests):
                    self._duplicates += 1
                else:
                    self._add(labels[i], batch.first + i, nearest[i], distance, digest)
            if self._mode == "reference" and (batch.first + i) % REFERENCE_EVERY == 0:
                self._test_reference()
            statistics[i] = self._statistic
            self._rows.append((self._log.end, self._tested, self._duplicates))
        return statistics

    def _add(self, label: int, query: int, nearest: int, distance: float, digest: int) -> None:
        """Append to D and, where it is kept sorted, bring the statistic up to it."""
        self._log.append(label, query, nearest, distance, digest)
        if self._mode == "reference":
            return
        self._tested = self._log.end
        if len(self._sample) < self._window:
            self._sample.insert(distance)
        else:
            gone = self._log.record(self._log.end - 1 - self._window)
            self._sample.replace(gone["distance"].item(), distance)
            self._digests.discard(gone["digest"].item())
        if digest:
            self._digests.add(digest)
        result = prada_modes.test(self._mode, self._sample)
        if result:
            self._statistic = prada_modes.judge(self._mode, result)

    def _test_reference(self) -> None:
        """Test as the authors' code does, every so many queries."""
        self._tested = self._log.end
        records = self._log.between(self._log.start(), self._log.end)
        result = prada_modes.test(self._mode, prada_modes.reduce(self._mode, records))
        if result:
            self._statistic = prada_modes.judge(self._mode, result)

    def evidence(self, row: int) -> dict[str, Any]:
        """Say what D looked like after `row`, and which recent pairs were closest."""
        position, tested, duplicates = self._rows[row]
        records = self._log.between(self._log.start(tested), tested)
        sample = prada_modes.reduce(self._mode, records)
        result = prada_modes.test(self._mode, sample)
        recent = self._log.between(max(self._log.start(position), position - RECENT), position)
        closest = recent[np.argsort(recent["distance"], kind="stable")[:CLOSEST]]
        return {
            "mode": self._mode,
            "distance": self._distance,
            "w": result.w if result else None,
            "distances": len(sample),
            "trimmed": len(sample) - result.kept if result else 0,
            "mean_distance": result.mean if result else None,
            "std_distance": result.std if result else None,
            "duplicates": duplicates,
            "growing_set": int(self._sizes[row]),
            "closest": [
                {field: pair[field].item() for field in ("query", "nearest", "distance")}
                for pair in closest
            ],
        }

    @classmethod
    def tell(cls, evidence: Mapping[str, Any]) -> str:
        """Say how far from normal the distances are, and which are closest."""
        told = (
            f"distances from its queries to the nearest earlier ones of their class are not normal "
            f"as honest ones are: W is {evidence['w'] or 0:.2f} over {evidence['distances']:,}"
        )
        if not evidence["closest"]:
            return told
        closest = evidence["closest"][0]
        return f"{told}; the closest is query {closest['query']} to {closest['nearest']}"

    def reset(self) -> None:
        """Forget all queries; log positions go on."""
        self._growing.clear()
        self._log.clear()
        self._sample = Sample(self._window)
        self._digests: set[int] = set()
        self._duplicates = 0
        self._statistic = math.nan
        self._tested = self._log.end
        self._rows = []
        self._sizes = np.empty(0, np.int64)

    def drain(self) -> list[Segment]:
        """Hand out new members of the growing set and full pages of distances."""
        return self._growing.drain() + self._log.drain()

    def header(self) -> bytes:
        """Encode options, positions, the last statistic and the distances not in a page."""
        fields: list[Any] = [*self._growing.position, self._log.begin, self._log.end]
        fields += [self._duplicates, self._statistic, self._tested, self._log.rest()]
        return self._header.pack(*fields)

    def horizon(self) -> dict[str, int]:
        """Say up to which position each log is forgotten."""
        return {growth_log.LOG: self._growing.position[1], LOG: self._log.start()}

    def load(self, header: bytes, segments: Sequence[Segment]) -> None:
        """Restore a fresh detector; raises `StateError` where header or segments do not fit."""
        with self._header.fields(header) as fields:
            grown, forgotten, begin, end, duplicates, statistic, tested, rest = fields
        self._growing.load(grown, forgotten, [s for s in segments if s.log == growth_log.LOG])
        self._log.load(begin, end, rest, [s for s in segments if s.log == LOG])
        records = self._log.between(self._log.start(), end)
        if self._mode != "reference":
            self._sample.fill(records["distance"])
        self._digests = set(records["digest"].tolist()) - {0}
        self._duplicates, self._statistic, self._tested = duplicates, statistic, tested

    def limit(self) -> int:
        """State the most bytes of state: live members and distances, and the header."""
        return self._growing.limit() + (self._window + PAGE) * RECORD.itemsize + 4096


def _digest(row: Any) -> int:
    """Identify a query's content; never 0."""
    plain = row + 0  # makes -0.0 the 0.0 that it equals
    return int.from_bytes(blake2b(plain.tobytes(), digest_size=8).digest(), "little") | 1
