"""Thieves: attacks that really ask a victim, ways to hide them, and what they get.

`attacks` and `evasions` are the catalogs; `craft` has what attacks share; `victims` are asked;
`recording` runs an attack and records it; `thief` trains the copy; `bench` measures it all. `base`
states the contract of all attacks. `lens` is what images go through, thieves' and honest ones'.
`model`, the thief's network, brings torch: whoever needs it imports it by name.
"""

from gamekeeper.replay.theft.base import (
    WHITE,
    Answers,
    Attack,
    AttackOver,
    Evasion,
    Floats,
    Images,
    Labels,
    Oracle,
    Reply,
    Request,
    Sent,
    Start,
    Victim,
    ask,
    duplicate,
    quantise,
)
from gamekeeper.replay.theft.listing import Listed, UnknownNameError, resolve
from gamekeeper.replay.theft.memo import Memo, digest

__all__ = [
    "WHITE",
    "Answers",
    "Attack",
    "AttackOver",
    "Evasion",
    "Floats",
    "Images",
    "Labels",
    "Listed",
    "Memo",
    "Oracle",
    "Reply",
    "Request",
    "Sent",
    "Start",
    "UnknownNameError",
    "Victim",
    "ask",
    "digest",
    "duplicate",
    "quantise",
    "resolve",
]
