"""Training of the networks that profiles carry: `train` is the way in. Brings torch."""

from gamekeeper.replay.tune.training.figures import LEVELS
from gamekeeper.replay.tune.training.loop import Step
from gamekeeper.replay.tune.training.networks import FEATURES, SCORES, Feature, Score, Size
from gamekeeper.replay.tune.training.own_density import fit_own_density
from gamekeeper.replay.tune.training.split import split
from gamekeeper.replay.tune.training.train import REPORT, Report, Trained, TrainPlan, train

__all__ = [
    "FEATURES",
    "LEVELS",
    "REPORT",
    "SCORES",
    "Feature",
    "Report",
    "Score",
    "Size",
    "Step",
    "TrainPlan",
    "Trained",
    "fit_own_density",
    "split",
    "train",
]
