"""Models to steal: trained here, or anybody's, behind one call."""

from gamekeeper.replay.theft.victims.callables import of_callable, of_module
from gamekeeper.replay.theft.victims.error import VictimError
from gamekeeper.replay.theft.victims.files import read_victim, write_victim
from gamekeeper.replay.theft.victims.find import classes_of, identity, victim
from gamekeeper.replay.theft.victims.train import LAYERS, VictimPlan, VictimReport, train_victim

__all__ = [
    "LAYERS",
    "VictimError",
    "VictimPlan",
    "VictimReport",
    "classes_of",
    "identity",
    "of_callable",
    "of_module",
    "read_victim",
    "train_victim",
    "victim",
    "write_victim",
]
