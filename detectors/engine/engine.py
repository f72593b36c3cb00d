"""The engine: query events in; statistics and verdicts out.

The online service and offline evaluation call this and nothing else, so that a replay gives what
the live service gave. It holds the accounts' live state; where that is kept, is the caller's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import compress, groupby

import numpy as np

from gamekeeper.detectors.base import Detector, Featurizer
from gamekeeper.detectors.engine.account import Account
from gamekeeper.detectors.engine.arrival import Arrival, Key, Source
from gamekeeper.detectors.engine.closing import close_by_order, close_earlier
from gamekeeper.detectors.engine.featurizing import featurized
from gamekeeper.detectors.engine.policy import Standing, close, judge
from gamekeeper.detectors.engine.profile import DetectorProfile, Profile
from gamekeeper.detectors.engine.run import Found, Outcome, Run, signature
from gamekeeper.schemas.event import QueryEvent
from gamekeeper.schemas.order import CloseOrder
from gamekeeper.schemas.verdict import finding_id

__all__ = ["Arrival", "Engine", "Key", "Outcome", "Source"]


class Engine:
    """Runs a profile's networks and detectors over events, per account and model.

    `accounts` is the live state. A caller may put restored accounts into it before `process` and
    take cold ones out after it; an account that is not there begins anew. `featurizers` are the
    profile's networks; without them a detector has the features that events bring themselves.

    >>> import numpy as np
    >>> from gamekeeper.detectors.engine.profile import default_profile
    >>> from gamekeeper.schemas.tensor import Tensor
    >>> inputs = Tensor.from_array(np.zeros((2, 4), np.float32))
    >>> event = QueryEvent(id="1", account="a", model="m", time=0, inputs=inputs, labels=[0, 1])
    >>> engine = Engine(default_profile())
    >>> [outcome] = engine.process([Arrival(event, Source("queries", 0, 0))])
    >>> outcome.statistics["prada"]
    array([nan, nan])
    """

    def __init__(self, profile: Profile, featurizers: Sequence[Featurizer] = ()) -> None:
        self.profile = profile
        self.featurizers = featurizers
        self.accounts: dict[Key, Account] = {}

    def featurized(self, arrivals: Sequence[Arrival]) -> list[Arrival]:
        """Run the networks over a micro-batch; changes nothing, so any thread may call it.

        Events of models that are not watched come back as they are.
        """
        watched = [self.profile.watches(arrival.event.model) for arrival in arrivals]
        done = iter(featurized(self.featurizers, list(compress(arrivals, watched))))
        return [
            next(done) if wanted else arrival
            for arrival, wanted in zip(arrivals, watched, strict=True)
        ]

    def process(self, arrivals: Sequence[Arrival]) -> list[Outcome]:
        """Take events in the order of their accounts' sources; one outcome each, same order.

        Events of one account and model are scored together. Should a detector raise, the accounts
        of these arrivals are in an undefined state: drop them and restore them.
        """
        arrivals = self.featurized(arrivals)
        outcomes: list[Outcome | None] = [None] * len(arrivals)
        for key, places in _by_account(arrivals).items():
            own = [arrivals[place] for place in places]
            for place, outcome in zip(places, self._account(key, own), strict=True):
                outcomes[place] = outcome
        return [outcome for outcome in outcomes if outcome is not None]

    def _account(self, key: Key, arrivals: list[Arrival]) -> Iterator[Outcome]:
        if not self.profile.watches(key[1]):
            yield from (Outcome(arrival, 0, {}, []) for arrival in arrivals)
            return
        account = self.accounts.get(key)
        if account is None:
            account = self.accounts[key] = Account(self.profile)
        earlier = list(close_earlier(self.profile, account, arrivals[0]))
        for _, run in groupby(arrivals, key=signature):
            for outcome in self._run(account, list(run)):
                yield outcome._replace(verdicts=earlier + outcome.verdicts)
                earlier = []

    def _run(self, account: Account, arrivals: list[Arrival]) -> Iterator[Outcome]:
        """Take consecutive arrivals of one kind."""
        if isinstance(arrivals[0].event, QueryEvent):
            yield from self._score(Run(account, self.profile, arrivals))
        for arrival in arrivals:
            if isinstance(arrival.event, CloseOrder):
                verdicts = close_by_order(self.profile, account, arrival.event, arrival.source)
                yield Outcome(arrival, account.queries, {}, verdicts)

    def _score(self, run: Run) -> Iterator[Outcome]:
        if run.account.queries == 0:
            run.account.first_time = run.arrivals[0].event.time
        for each in self.profile.detectors:
            self._detect(run, each)
        run.account.queries += len(run.batch)
        yield from run.outcomes()

    def _detect(self, run: Run, each: DetectorProfile) -> None:
        detector = run.account.detectors[each.detector]
        standing = run.account.standings[each.detector]
        scores = run.statistics[each.detector] = np.empty(len(run.batch))
        start = 0
        while start < len(run.batch):
            scores[start:] = detector.update(run.batch[start:])
            stop = self._judge(run, each, detector, standing, start)
            start = len(run.batch) if stop is None else stop

    def _judge(
        self, run: Run, each: DetectorProfile, detector: Detector, standing: Standing, start: int
    ) -> int | None:
        """Turn statistics from `start` on into findings; say where a reset detector goes on."""
        assert each.threshold is not None  # resolved with the profile
        changes = judge(
            standing,
            run.statistics[each.detector][start:],
            run.times[start:],
            threshold=each.threshold,
            policy=self.profile.policy,
            profile=self.profile.hash,
            name=lambda row: finding_id(*run.names(each), run.batch.first + start + row),
        )
        for change in changes:
            run.found.append(Found(each, start + change.row, change, detector.evidence(change.row)))
            if self.profile.policy.mode == "reset":
                detector.reset()
                close(standing)
                return start + change.row + 1
        return None


def _by_account(arrivals: Sequence[Arrival]) -> dict[Key, list[int]]:
    places: dict[Key, list[int]] = {}
    for place, (event, *_) in enumerate(arrivals):
        places.setdefault((event.account, event.model), []).append(place)
    return places
