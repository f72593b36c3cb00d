"""The engine: query events in; statistics and verdicts out, for the service and offline alike.

`engine` runs a profile over events; `profile` says which detectors watch a model and when they
alarm; `account` is one account's live state, `policy` turns statistics into findings, `stretch`
holds arrays of queries, which `scoring` scores, and `slicing` a slice at a time; `verdicts` makes
the verdicts, `closing` those that end a finding otherwise; `forgetting` says when an account begins
anew. A change here changes what replay and service say, both alike; what is saved (`account`) has a
codec number.
"""

from gamekeeper.detectors.engine.account import Account, Seen, forgotten, seen
from gamekeeper.detectors.engine.arrival import Arrival, Key, Source
from gamekeeper.detectors.engine.engine import Engine
from gamekeeper.detectors.engine.featurizing import featurized, with_features
from gamekeeper.detectors.engine.forgetting import patience
from gamekeeper.detectors.engine.habits import DeclaredHabit
from gamekeeper.detectors.engine.policy import Standing, severity
from gamekeeper.detectors.engine.profile import (
    DetectorProfile,
    NetworkRef,
    Policy,
    Profile,
    Promise,
    check_thresholds,
    default_profile,
    override,
    resolve,
)
from gamekeeper.detectors.engine.scoring import Scored, score
from gamekeeper.detectors.engine.slicing import Outcome, Slices
from gamekeeper.detectors.engine.stretch import Stretch

__all__ = [
    "Account",
    "Arrival",
    "DeclaredHabit",
    "DetectorProfile",
    "Engine",
    "Key",
    "NetworkRef",
    "Outcome",
    "Policy",
    "Profile",
    "Promise",
    "Scored",
    "Seen",
    "Slices",
    "Source",
    "Standing",
    "Stretch",
    "check_thresholds",
    "default_profile",
    "featurized",
    "forgotten",
    "override",
    "patience",
    "resolve",
    "score",
    "seen",
    "severity",
    "with_features",
]
