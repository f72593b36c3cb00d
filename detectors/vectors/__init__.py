"""An account's feature vectors: kept within bounds, searched, saved as rows.

`history` is the front; `index` searches with FAISS, `closest` measures the winner anew, `log` keeps
the rows, `spacing` says how far benign vectors lie apart.
"""

from gamekeeper.detectors.vectors.closest import LARGEST_BLOCK, closest, finite
from gamekeeper.detectors.vectors.history import Bounds, VectorHistory, fingerprint
from gamekeeper.detectors.vectors.index import SLACK, FlatIndex, Ints, Near
from gamekeeper.detectors.vectors.log import Position
from gamekeeper.detectors.vectors.spacing import distance_of_pairs, nearest_earlier

__all__ = [
    "LARGEST_BLOCK",
    "SLACK",
    "Bounds",
    "FlatIndex",
    "Ints",
    "Near",
    "Position",
    "VectorHistory",
    "closest",
    "distance_of_pairs",
    "fingerprint",
    "finite",
    "nearest_earlier",
]
