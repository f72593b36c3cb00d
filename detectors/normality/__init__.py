"""Are an account's distances normal? The second half of PRADA.

`distance_log` keeps the distances sorted and as rows, `shapiro` tests them, `modes` has what the
detector's three modes differ in.
"""

from gamekeeper.detectors.normality.distance_log import PAGE, RECORD, DistanceLog
from gamekeeper.detectors.normality.modes import MODES, READY, REFERENCE_EVERY, THRESHOLDS, WINDOWS
from gamekeeper.detectors.normality.shapiro import LARGEST_SAMPLE, Sample

__all__ = [
    "LARGEST_SAMPLE",
    "MODES",
    "PAGE",
    "READY",
    "RECORD",
    "REFERENCE_EVERY",
    "THRESHOLDS",
    "WINDOWS",
    "DistanceLog",
    "Sample",
]
