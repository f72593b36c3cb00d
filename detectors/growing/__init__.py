"""The growing sets of PRADA's two versions: the queries that are far from all earlier ones.

`growing_set` holds one set a class, `nearest` and `distances` measure a batch against it in matrix
products, `log` keeps it as rows. Decisions equal the obvious loop's, bit for bit: whatever is made
faster here has to keep that (`tests/detectors/growing`).
"""

from gamekeeper.detectors.growing.distances import DISTANCES
from gamekeeper.detectors.growing.growing_set import GrowingSet

__all__ = ["DISTANCES", "GrowingSet"]
