"""What all habits share: what an account has goes in, what it sends comes out; stated once.

A habit is a function `habit(own, queries, rng)`. The contract, proved for every habit by
`tests/replay/honest/test_contract.py`:

* **Honest.** Whoever has it wants answers, not the model: it never looks at the answers, so that
  nothing that it sends is made from them. Explainers look at them, and choose no query by them.
* **Own data.** It sends what the account has, changed in a way that a device, a person or a tool
  changes it; how, its docstring says.
* **Real queries.** `(queries, *shape)`, of the dtype and the shape of what the account has.
* **Deterministic.** The same data and `rng` make the same queries on one machine; nothing that it
  is given is changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Inputs = NDArray[Any]
"""`(n, h, w)` grey or `(n, h, w, c)` colour images in uint8, or `(n, d)` rows in floats."""
Labels = NDArray[np.int64]


class Own(NamedTuple):
    """What an account has: distinct inputs `(n, *shape)` in random order, and their classes `(n,)`.

    There are at least as many as the queries that it will send.
    """

    inputs: Inputs
    labels: Labels


Habit = Callable[[Own, int, np.random.Generator], Inputs]


def shared_out(queries: int, each: int) -> tuple[int, NDArray[np.int64]]:
    """Say how many things are needed for so many queries of each, and whose turn each query is.

    >>> shared_out(5, 2)[0], shared_out(5, 2)[1].tolist()
    (3, [0, 0, 1, 1, 2])
    """
    turns = np.arange(queries) // each
    return int(turns[-1]) + 1 if queries else 0, turns
