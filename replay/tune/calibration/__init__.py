"""Profiles whose thresholds carry a promise: chosen, measured, checked again.

`calibrate` is the way in, `start` what it begins with, `feedback` what analysts have said of
accounts, `journal` what an interrupted run has done; `maxima` of benign lives, the `account_rule`
that makes thresholds of them, `fitting` of what detectors need to know of benign traffic, `habits`
of what honest accounts do, `remembering` of networks' features; `false_alarms` measures the
promise, `verify` measures it again on any traces, `profiles` reads and writes files, `declaring`
what people say of accounts.
"""

from gamekeeper.replay.tune.calibration.calibrate import Calibration, calibrate
from gamekeeper.replay.tune.calibration.declaring import declare, revoke, write_beside
from gamekeeper.replay.tune.calibration.feedback import Feedback, Heeded, read_feedback
from gamekeeper.replay.tune.calibration.journal import Journal
from gamekeeper.replay.tune.calibration.maxima import Maxima
from gamekeeper.replay.tune.calibration.plan import Plan
from gamekeeper.replay.tune.calibration.profiles import (
    SHIPPED,
    adopt,
    differences,
    document,
    open_profile,
    options,
    promised,
    write_profile,
)
from gamekeeper.replay.tune.calibration.start import Start, lacks_density, start
from gamekeeper.replay.tune.calibration.verify import Verification, verify

__all__ = [
    "SHIPPED",
    "Calibration",
    "Feedback",
    "Heeded",
    "Journal",
    "Maxima",
    "Plan",
    "Start",
    "Verification",
    "adopt",
    "calibrate",
    "declare",
    "differences",
    "document",
    "lacks_density",
    "open_profile",
    "options",
    "promised",
    "read_feedback",
    "revoke",
    "start",
    "verify",
    "write_beside",
    "write_profile",
]
