"""One event, scored a slice at a time: what is said of it is said of the whole.

A large event on a long history takes seconds, during which nobody else would be answered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gamekeeper.detectors.base import Featurizer, Floats
from gamekeeper.detectors.engine.account import Account
from gamekeeper.detectors.engine.arrival import Arrival
from gamekeeper.detectors.engine.declared import NAME as DECLARED
from gamekeeper.detectors.engine.featurizing import featurized, with_features
from gamekeeper.detectors.engine.profile import Profile
from gamekeeper.detectors.engine.scoring import Scored, score
from gamekeeper.detectors.engine.stretch import stretch_of
from gamekeeper.schemas.verdict import Verdict


class Outcome(NamedTuple):
    """What one event led to.

    `first` is the index of its first query among the account's; `statistics` maps each detector
    to its `(n,)` statistics, NaN where not ready, and is empty for a model that is not watched.
    """

    arrival: Arrival
    first: int
    statistics: dict[str, Floats]
    verdicts: list[Verdict]


class Slices:
    """A query event that is scored in slices; `earlier` verdicts go before its own.

    The account takes nothing else before all is done; until then its state is within the event.
    Should a detector or a network raise, it is in an undefined state: drop it and restore it.
    """

    def __init__(
        self,
        profile: Profile,
        featurizers: Sequence[Featurizer],
        account: Account,
        arrival: Arrival,
        earlier: Sequence[Verdict],
    ) -> None:
        self._profile = profile
        self._featurizers = featurizers
        self._account = account
        [self._arrival] = featurized((), [arrival])  # with what the event brings itself
        self._whole = stretch_of([self._arrival], account.queries)
        self._earlier = list(earlier)
        self._scored: list[Scored] = []
        self._features: list[Mapping[str, NDArray[np.float32]]] = []
        self._done = 0

    @property
    def left(self) -> int:
        """Count the rows that are not scored yet."""
        return len(self._whole.batch) - self._done

    def step(self, rows: int) -> None:
        """Score the next rows, at most so many."""
        start, stop = self._done, min(self._done + rows, len(self._whole.batch))
        batch = with_features(self._featurizers, self._whole.batch[start:stop])
        # So counted, the event begins before the slice, and a row has its place in the event.
        starts = np.array([-start, stop - start])
        part = replace(self._whole, batch=batch, starts=starts)
        self._scored.append(score(self._profile, self._account, part))
        self._features.append(batch.features)
        self._done = stop

    def outcome(self) -> Outcome:
        """Give what the whole event led to, once no rows are left; as if scored at a stretch."""
        assert not self.left
        arrival = self._arrival._replace(features=_joined(self._features))
        statistics = _joined([each.statistics for each in self._scored])
        verdicts = [verdict for each in self._scored for verdict in each.verdicts[0]]
        order = [*statistics, DECLARED]
        verdicts.sort(key=lambda verdict: order.index(verdict.detector))
        return Outcome(arrival, self._scored[0].firsts[0], statistics, self._earlier + verdicts)


def _joined(parts: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
