"""Detectors over traces: what is caught, how soon, at which false-alarm rate.

`evaluate` is the way in; `life` runs one account's trace, `rates` and `report` count, `sweep`
tries every threshold.
"""

from gamekeeper.replay.tune.evaluation.evaluate import (
    BATCH,
    LifeResult,
    Shard,
    cores,
    evaluate,
    shard,
)
from gamekeeper.replay.tune.evaluation.life import ANY, Retirement, watched
from gamekeeper.replay.tune.evaluation.rates import (
    CHUNK,
    Interval,
    clopper_pearson,
    garwood,
    typical,
    worst,
)
from gamekeeper.replay.tune.evaluation.report import BENIGN, DEFINITIONS, Row

__all__ = [
    "ANY",
    "BATCH",
    "BENIGN",
    "CHUNK",
    "DEFINITIONS",
    "Interval",
    "LifeResult",
    "Retirement",
    "Row",
    "Shard",
    "clopper_pearson",
    "cores",
    "evaluate",
    "garwood",
    "shard",
    "typical",
    "watched",
    "worst",
]
