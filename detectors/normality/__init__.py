"""Are an account's distances normal? The second half of PRADA.

`shapiro` tests the distances, `modes` has what the detector's three modes differ in.
"""

from gamekeeper.detectors.normality.modes import MODES, READY, REFERENCE_EVERY, THRESHOLDS, WINDOWS
from gamekeeper.detectors.normality.shapiro import LARGEST_SAMPLE, Sample

__all__ = [
    "LARGEST_SAMPLE",
    "MODES",
    "READY",
    "REFERENCE_EVERY",
    "THRESHOLDS",
    "WINDOWS",
    "Sample",
]
