"""The engine: query events in; statistics and verdicts out.

The online service and offline evaluation call this and nothing else, so that a replay gives what
the live service gave. It holds the accounts' live state; where that is kept, is the caller's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import compress, groupby, pairwise

from gamekeeper.detectors.base import Featurizer
from gamekeeper.detectors.engine.account import Account
from gamekeeper.detectors.engine.arrival import Arrival, Key
from gamekeeper.detectors.engine.closing import carry_over, close_by_order
from gamekeeper.detectors.engine.featurizing import featurized
from gamekeeper.detectors.engine.profile import Profile
from gamekeeper.detectors.engine.scoring import score
from gamekeeper.detectors.engine.slicing import Outcome, Slices
from gamekeeper.detectors.engine.stretch import signature, stretch_of
from gamekeeper.schemas.event import QueryEvent
from gamekeeper.schemas.order import CloseOrder


class Engine:
    """Runs a profile's networks and detectors over events, per account and model.

    `accounts` is the live state. A caller may put restored accounts into it before `process` and
    take cold ones out after it; an account that is not there begins anew. `featurizers` are the
    profile's networks; without them a detector has the features that events bring themselves.

    >>> import numpy as np
    >>> from gamekeeper.detectors.engine.profile import default_profile
    >>> from gamekeeper.detectors.engine import Source
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

    def slices(self, arrival: Arrival) -> Slices:
        """Begin to score a query event of a watched model in slices; see there for what holds.

        Its outcome is the one that `process` would give.
        """
        event = arrival.event
        account = self._at((event.account, event.model))
        earlier = list(carry_over(self.profile, account, arrival))
        return Slices(self.profile, self.featurizers, account, arrival, earlier)

    def _at(self, key: Key) -> Account:
        account = self.accounts.get(key)
        if account is None:
            account = self.accounts[key] = Account(self.profile)
        return account

    def _account(self, key: Key, arrivals: list[Arrival]) -> Iterator[Outcome]:
        if not self.profile.watches(key[1]):
            yield from (Outcome(arrival, 0, {}, []) for arrival in arrivals)
            return
        account = self._at(key)
        earlier = list(carry_over(self.profile, account, arrivals[0]))
        for _, run in groupby(arrivals, key=signature):
            for outcome in self._run(account, list(run)):
                yield outcome._replace(verdicts=earlier + outcome.verdicts)
                earlier = []

    def _run(self, account: Account, arrivals: list[Arrival]) -> Iterator[Outcome]:
        """Take consecutive arrivals of one kind."""
        if isinstance(arrivals[0].event, QueryEvent):
            yield from self._score(account, arrivals)
        for arrival in arrivals:
            if isinstance(arrival.event, CloseOrder):
                verdicts = close_by_order(self.profile, account, arrival.event, arrival.source)
                yield Outcome(arrival, account.queries, {}, verdicts)

    def _score(self, account: Account, arrivals: list[Arrival]) -> Iterator[Outcome]:
        """Score a stretch and cut what was found into one outcome per event."""
        stretch = stretch_of(arrivals, account.queries)
        scored = score(self.profile, account, stretch)
        for number, (begin, end) in enumerate(pairwise(stretch.starts.tolist())):
            statistics = {name: scores[begin:end] for name, scores in scored.statistics.items()}
            yield Outcome(
                arrivals[number], scored.firsts[number], statistics, scored.verdicts[number]
            )


def _by_account(arrivals: Sequence[Arrival]) -> dict[Key, list[int]]:
    places: dict[Key, list[int]] = {}
    for place, (event, *_) in enumerate(arrivals):
        places.setdefault((event.account, event.model), []).append(place)
    return places
