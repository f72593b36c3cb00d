"""An account's feature vectors: kept within bounds, searched, saved as rows.

`history` is the front; `index` searches with FAISS and measures the winner anew, `log` keeps the
rows.
"""

from gamekeeper.detectors.vectors.history import Bounds, VectorHistory, fingerprint
from gamekeeper.detectors.vectors.index import SLACK, FlatIndex, Ints, Near
from gamekeeper.detectors.vectors.log import Position

__all__ = [
    "SLACK",
    "Bounds",
    "FlatIndex",
    "Ints",
    "Near",
    "Position",
    "VectorHistory",
    "fingerprint",
]
