"""What attacks craft images with: steps along gradients, targets, augmentation, generators."""

from gamekeeper.replay.theft.craft.art_model import art_model
from gamekeeper.replay.theft.craft.augment import augment
from gamekeeper.replay.theft.craft.carlini import carlini
from gamekeeper.replay.theft.craft.generator import NOISE, Generator
from gamekeeper.replay.theft.craft.steps import signed_steps
from gamekeeper.replay.theft.craft.targets import Aims, likeliest, random_others

__all__ = [
    "NOISE",
    "Aims",
    "Generator",
    "art_model",
    "augment",
    "carlini",
    "likeliest",
    "random_others",
    "signed_steps",
]
