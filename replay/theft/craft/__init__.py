"""What attacks craft images with: steps along gradients, targets, variants, generators."""

from gamekeeper.replay.theft.craft.augment import augment
from gamekeeper.replay.theft.craft.auto_encoder import VariationalAutoEncoder
from gamekeeper.replay.theft.craft.carlini import carlini
from gamekeeper.replay.theft.craft.deepfool import deepfool
from gamekeeper.replay.theft.craft.generator import NOISE, Generator
from gamekeeper.replay.theft.craft.rounds import rounds
from gamekeeper.replay.theft.craft.steps import signed_steps
from gamekeeper.replay.theft.craft.targets import Aims, likeliest, random_others
from gamekeeper.replay.theft.craft.variants import variants

__all__ = [
    "NOISE",
    "Aims",
    "Generator",
    "VariationalAutoEncoder",
    "augment",
    "carlini",
    "deepfool",
    "likeliest",
    "random_others",
    "rounds",
    "signed_steps",
    "variants",
]
