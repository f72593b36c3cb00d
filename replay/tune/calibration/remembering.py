"""Networks that are run once for each different input, however many accounts send it.

Accounts that draw from one collection share most of their inputs, and networks take nine tenths of
a calibration's time. A network's row depends on its input alone, bit for bit (`Featurizer`), so
that what was computed for an input once is what would be computed again.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gamekeeper.detectors.base import Featurizer
from gamekeeper.detectors.engine import Profile
from gamekeeper.stream.profile_files import load_networks

MOST_BYTES: Final = 128 * 2**20
"""What a network remembers in a process: of embeddings of 256 values some 100,000."""
ENTRY_BYTES: Final = 300
"""What an input's digest, its array and its place take beside the values."""

Row = NDArray[np.float32]


class Remembering:
    """A featurizer that remembers the rows it made, by the inputs' type, shape and exact bytes.

    The ones that were asked for the longest time ago are forgotten first.
    """

    def __init__(self, featurizer: Featurizer, most: int = MOST_BYTES) -> None:
        """Remember rows of `featurizer`, in `most` bytes."""
        self.name = featurizer.name
        self.sha256 = featurizer.sha256
        self._featurizer = featurizer
        self._most = most
        self._rows = OrderedDict[bytes, Row]()

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Say whether rows of this shape can be featurized."""
        return self._featurizer.accepts(shape)

    def __call__(self, inputs: NDArray[Any]) -> NDArray[np.float32]:
        """Map `(n, *shape)` inputs to `(n, d)` features, those that the network gives."""
        if not len(inputs):
            return self._featurizer(inputs)
        digests = _digests(inputs)
        rows = dict(zip(reversed(digests), reversed(range(len(digests))), strict=True))
        different = dict.fromkeys(digests)
        found = {each: self._rows[each] for each in different if each in self._rows}
        fresh = [each for each in different if each not in found]
        if fresh:
            made = self._featurizer(inputs[[rows[each] for each in fresh]])
            found |= {each: row.copy() for each, row in zip(fresh, made, strict=True)}
        self._note({each: found[each] for each in different})
        return np.stack([found[each] for each in digests])

    def _note(self, found: dict[bytes, Row]) -> None:
        """Remember rows, the last ones the longest."""
        for digest, row in found.items():
            self._rows[digest] = row
            self._rows.move_to_end(digest)
        width = next(iter(found.values())).nbytes + ENTRY_BYTES
        while len(self._rows) * width > self._most:
            self._rows.popitem(last=False)


@lru_cache(maxsize=4)
def _remembering(featurizer: Featurizer) -> Remembering:
    """Make one for all shards that a process takes."""
    return Remembering(featurizer)


def remembering_networks(profile: Profile, folder: Path) -> tuple[Featurizer, ...]:
    """Load the profile's networks as `load_networks` does, to be run once for each input."""
    networks = load_networks(profile, folder)  # the same objects each time
    return tuple(_remembering(each) for each in networks)  # type: ignore[arg-type]


def _digests(inputs: NDArray[Any]) -> list[bytes]:
    """Name each row: 16 bytes of a hash, so that nobody finds two inputs of one name."""
    kind = blake2b(repr((inputs.dtype.str, inputs.shape[1:])).encode(), digest_size=16).digest()
    return [blake2b(row.tobytes(), digest_size=16, person=kind).digest() for row in inputs]
