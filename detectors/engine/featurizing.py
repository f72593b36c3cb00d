"""Features of a whole micro-batch: each network runs once over all accounts' events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from gamekeeper.detectors.base import EMBEDDING, Batch, Featurizer
from gamekeeper.detectors.engine.arrival import Arrival
from gamekeeper.detectors.engine.stacking import Kind, kind, stack
from gamekeeper.schemas.event import QueryEvent


def featurized(featurizers: Sequence[Featurizer], arrivals: Sequence[Arrival]) -> list[Arrival]:
    """Attach features to the arrivals that have none yet; what an event brings itself wins.

    A feature is missing from an event whose rows are not of the shape that its network takes.
    """
    found: dict[int, dict[str, NDArray[np.float32]]] = {}
    groups: dict[Kind | None, list[int]] = {}
    for place, arrival in enumerate(arrivals):
        event = arrival.event
        if arrival.features is None and isinstance(event, QueryEvent):
            found[place] = {}
            if event.embedding is not None:
                found[place][EMBEDDING] = event.embedding.array().astype(np.float32)
            groups.setdefault(kind(event.inputs), []).append(place)
    for places in groups.values():
        for each in featurizers:
            _run(
                each, arrivals, [place for place in places if each.name not in found[place]], found
            )
    return [
        arrival._replace(features=found.get(place, {})) if arrival.features is None else arrival
        for place, arrival in enumerate(arrivals)
    ]


def with_features(featurizers: Sequence[Featurizer], batch: Batch) -> Batch:
    """Add to a batch the features that it lacks and that a network makes of such rows."""
    accepted = [
        each
        for each in featurizers
        if each.name not in batch.features and each.accepts(batch.inputs.shape[1:])
    ]
    made = {each.name: each(batch.inputs) for each in accepted}
    return replace(batch, features={**batch.features, **made})


def _run(
    featurizer: Featurizer,
    arrivals: Sequence[Arrival],
    places: Sequence[int],
    found: dict[int, dict[str, NDArray[np.float32]]],
) -> None:
    """Run one network over the events at `places`, whose rows are alike."""
    events = [event for place in places if isinstance(event := arrivals[place].event, QueryEvent)]
    if not events or not featurizer.accepts(events[0].inputs.shape[1:]):
        return
    rows = featurizer(stack([event.inputs for event in events]))
    ends = np.cumsum([0, *map(len, events)])
    for place, (start, end) in zip(places, pairwise(ends), strict=True):
        found[place][featurizer.name] = rows[start:end]
