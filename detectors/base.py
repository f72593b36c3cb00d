"""The contract of every detector, stated once.

A **detector** watches the queries of one account to one model and keeps a *statistic*: one real
number after each query, *higher is always more suspicious*. It knows neither thresholds (those
are the profile's) nor accounts, clocks, files or Kafka.

The contract, proved for every detector by one shared test (`tests/support/contract.py`):

* **Order.** `update(batch)` is called with consecutive queries, oldest first.
  `batch.first` is the index of the first of them among the account's queries to the model.
* **Causal.** The statistic of query i depends on queries 0..i only.
* **Batching-invariant.** The same queries cut into any batches give the same statistics and the
  same evidence, bit for bit; so does a detector that was saved and restored in between.
* **Deterministic.** No clock, no randomness that is not seeded by an option.
* **Bounded.** At most `limit()` bytes of state, whatever is sent; the docstring of the detector
  says what is forgotten first.
* **Restorable exactly.** `drain()` hands out what was appended since the last call as segments of
  append-only logs, `header()` the small rest; `load()` with the header and the live segments
  brings back the same detector. A header is written after the segments that it counts on; segments
  that a crash left behind beyond the header are overwritten by the re-run.
* **Nothing shared.** A batch's arrays are neither changed nor kept (copies of rows may be kept);
  two detectors share no state except caches of pure functions.
* **Repeats.** Where `distinct` is above 0, whoever runs the detector leaves out each query that is
  equal to one of the `distinct` latest different ones before it (`engine.repeats`): they teach a
  thief nothing, and honest customers send many.
* **Never raises on data.** Whatever passed the schema's checks is scored: constant, repeated,
  tiny, huge (up to the dtype's limits) or one-valued inputs included. Statistics are finite, or
  NaN where the detector is not yet ready.
* **Ranks attacks above benign.**

A **featurizer** is the expensive part (a network): stateless, shared by all accounts, run once
over the micro-batch of all accounts; what it returns reaches the detectors in `Batch.features`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from gamekeeper.schemas.verdict import Kind

Floats = NDArray[np.float64]

HEADER_BYTES: Final = 4096
"""Bytes that a header stays below."""

EMBEDDING: Final = "embedding"
"""The name under which `Batch.features` has the embeddings that events carry themselves."""
LIKELIHOOD: Final = "log_likelihood"
"""The name under which it has `(n, 1)` log-likelihoods under a model of benign inputs."""
OOD: Final = "ood"
"""The name under which it has `(n, 1)` scores, higher for inputs unlike the model's own data."""


_NEVER: Final = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive queries of one account to one model, oldest first.

    `inputs` is `(n, *shape)` in the event's dtype, `labels` `(n,)` int64 (the model's top-1
    classes), `probabilities` `(n, k)` or None, `features` maps a featurizer's name to `(n, d)`
    float32, `times` `(n,)` int64 the events' times (us since 1970; several queries may share one,
    and clocks may go back). `queries` `(n,)` int64 has each one's index among the account's queries
    to the model: `first` and those that follow, unless some are left out between them. `statistics`
    `(n, m)` are those of the detectors that this one reads (`Detector.reads`), if it reads some.
    """

    first: int
    inputs: NDArray[Any]
    labels: NDArray[np.int64]
    probabilities: NDArray[Any] | None = None
    features: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    times: NDArray[np.int64] = field(default_factory=lambda: _NEVER)
    queries: NDArray[np.int64] = field(default_factory=lambda: _NEVER)
    statistics: Floats | None = None

    def __post_init__(self) -> None:
        """Give queries whose time nobody knows one and the same; count them from the first."""
        if self.times is _NEVER:
            object.__setattr__(self, "times", np.zeros(len(self.labels), np.int64))
        if self.queries is _NEVER:
            object.__setattr__(self, "queries", self.first + np.arange(len(self.labels)))

    def __len__(self) -> int:
        """Count the queries."""
        return len(self.labels)

    def __getitem__(self, rows: slice | NDArray[np.intp]) -> Batch:
        """Take rows, in their order: consecutive ones as a batch of views, others as copies."""
        queries = self.queries[rows]
        return Batch(
            first=int(queries[0]) if len(queries) else self.first,
            inputs=self.inputs[rows],
            labels=self.labels[rows],
            probabilities=None if self.probabilities is None else self.probabilities[rows],
            features={name: values[rows] for name, values in self.features.items()},
            times=self.times[rows],
            queries=queries,
            statistics=None if self.statistics is None else self.statistics[rows],
        )


class Segment(NamedTuple):
    """A stretch of one of a detector's append-only logs, to be stored as one row.

    `end` is the log's position after the stretch: the number of items ever appended to it. The
    segment may be deleted once `Detector.horizon()[log] >= end`.
    """

    log: str
    end: int
    data: bytes


class Featurizer(Protocol):
    """A stateless, shared function from inputs to features, run once per micro-batch.

    `name` is the feature that it makes, `sha256` identifies the weights.
    """

    name: str
    sha256: str

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Say whether rows of this shape can be featurized."""
        ...

    def __call__(self, inputs: NDArray[Any]) -> NDArray[np.float32]:
        """Map `(n, *shape)` inputs to `(n, d)` features.

        Row i depends on input i only, bit for bit, whatever else is in the batch.
        """
        ...


class Fitted(NamedTuple):
    """An option on the scale of a detector's feature, so that no value is right for all.

    `gamekeeper calibrate` chooses it from benign accounts: `read` reduces one account's `(n, d)`
    features to what is needed of them (of a detector without a feature: its inputs, flattened,
    with the answers as a last column), `choose` makes the value of all accounts' readings (empty
    for an account without the feature) and raises `ProfileError` where there is nothing to choose
    from. Until then the detector is built with `start`.
    """

    option: str
    start: float | str
    read: Callable[[NDArray[np.float32]], NDArray[Any]]
    choose: Callable[[Sequence[NDArray[Any]]], float | str]


class Detector(ABC):
    """One account's statistic for one model; see the module's text for the contract.

    Whoever keeps no logs writes `update`, `evidence`, `reset`, `header` and `load`.
    """

    name: ClassVar[str]
    """The detector's name in profiles, verdicts, tables and on the command line."""
    kind: ClassVar[Kind]
    """What its evidence is of: queries made from earlier ones (`theft`), `variants` of some, `other
    data` than the model's own, or `load`. Honest customers have habits that make all but the first.
    """
    feature: ClassVar[str] = ""
    """The feature that it reads from `Batch.features`, if it reads one."""
    fitted: ClassVar[Fitted | None] = None
    """Its option on the scale of that feature, if it has one."""
    steady: ClassVar[Mapping[str, Any]] = {}
    """Options with which the statistic of a steady account stays as it is, however long it lives.
    `gamekeeper calibrate` sets them where none are given; the defaults are the papers'."""
    threshold: float
    """Where the policy alarms when the profile names no threshold of its own."""
    least: ClassVar[float] = -math.inf
    """A threshold below which calibration does not go, however little its accounts did: for a
    statistic that is 0 for nearly all, whose few others calibration may not have seen."""
    reads: tuple[str, ...] = ()
    """The detectors of the same profile whose statistics it is given in `Batch.statistics`, NaN
    where they say nothing. They carry no threshold unless the profile gives them one."""
    distinct: int = 0
    """Among so many of the latest different queries repeats are left out; 0: it is given all."""

    @abstractmethod
    def update(self, batch: Batch) -> Floats:
        """Take `n` queries; return their `(n,)` statistics, NaN where not ready."""

    @abstractmethod
    def evidence(self, row: int) -> dict[str, Any]:
        """Say, in JSON's types, why the statistic after `row` of the last batch is what it is."""

    @classmethod
    def tell(cls, evidence: Mapping[str, Any]) -> str:
        """Say in plain words, without a full stop, what evidence of this detector shows.

        The account is "it". `evidence` may have been JSON meanwhile. Here: nothing.
        """
        return ""

    @abstractmethod
    def reset(self) -> None:
        """Forget all queries, as after an alarm under the `reset` policy.

        Log positions go on counting, so that `horizon()` then covers every earlier segment.
        """

    def drain(self) -> list[Segment]:
        """Hand out the log items appended since the last call, each segment below 256 KiB.

        A single item larger than that is a segment of its own. Here: there are no logs.
        """
        return []

    @abstractmethod
    def header(self) -> bytes:
        """Encode the small rest of the state (below 4 KiB); call after `drain()`."""

    def horizon(self) -> dict[str, int]:
        """Say up to which position each log is forgotten. Here: there are no logs."""
        return {}

    @abstractmethod
    def load(self, header: bytes, segments: Sequence[Segment]) -> None:
        """Restore a fresh detector exactly; segments in the order of each log.

        Raises `StateError` where the bytes do not fit the detector or its options.
        """

    def limit(self) -> int:
        """State the largest number of bytes of state, for rows of the shape seen so far.

        Here: the header alone.
        """
        return HEADER_BYTES
