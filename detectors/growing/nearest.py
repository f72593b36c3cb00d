"""Which of many rows can be the nearest: a matrix product, and a bound on its rounding error.

The order of |x - y|^2 over y is that of |y|^2 / 2 - x y. That is one matrix product for many x and
y, but it loses digits, near-duplicates above all. What it loses is bounded here: rows within the
bound of the least value are candidates, and only they have to be measured directly. Where float32
leaves so many that measuring them would take longer, the product is made again in float64: else a
sender of images that lie close together, which he may do, would keep the service busy.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

LONGEST_PRODUCT = 4096
"""Longer rows are multiplied in pieces, so that the error bound does not grow with their length."""
MOST_QUERIES = 384
"""Queries compared with each other at once: enough for a fast product."""

CROWDED = 16
"""The product is made again where more than one in so many pairs are candidates: measuring a pair
takes about so many times as long as its part of a float64 product does."""
PIECE = 512
"""Columns that are float64 at once, which bounds memory."""

_ROUNDING: dict[np.dtype[Any], tuple[float, float]] = {
    np.dtype(kind): (float(np.finfo(kind).eps) / 2, 4 * float(np.finfo(kind).tiny))
    for kind in (np.float32, np.float64)
}
_NOT_BEFORE = np.triu(np.ones((MOST_QUERIES, MOST_QUERIES), bool))


class Order(NamedTuple):
    """How near `k` queries are to `m` members and, then, to the queries before them."""

    values: NDArray[Any]
    """`(k, m + k)`, in the order of the distances; infinite where no earlier query."""
    tolerance: list[float]
    """`(k,)`: how far above the least a value can be and still belong to the nearest."""
    best: list[int]
    """`(k,)`: the nearest member where that is sure, else -1."""
    alone: list[bool]
    """`(k,)`: whether no query before can be nearer than that member."""


def halved_squares(rows: NDArray[Any]) -> NDArray[Any]:
    """Give half of each row's squared norm, `(n,)`; long rows are summed in float64."""
    if rows.shape[1] > LONGEST_PRODUCT:
        rows = rows.astype(np.float64, copy=False)
    halves: NDArray[Any] = np.einsum("ij,ij->i", rows, rows)
    halves *= 0.5
    return halves


def order_one(
    row: NDArray[Any], half: float, members: NDArray[Any], halves: NDArray[Any], largest: float
) -> Order:
    """Compare one row `(1, d)` with `(m, d)` members, m > 0; see `order_many`."""
    values = _product(row, members)
    np.subtract(halves, values, out=values)
    tolerance = _tolerance(half, largest, members.shape[1], members.dtype)
    best = int(values.argmin())
    sure = np.count_nonzero(values <= values.item(best) + tolerance) == 1
    return Order(values, [tolerance], [best if sure else -1], [True])


def order_many(rows: NDArray[Any], halves: NDArray[Any], old: int, largest: float) -> Order:
    """Compare queries with members and each other: `(m + k, d)` rows, of which `m` = `old`.

    `halves` `(m + k,)` are half the squared norms, none above `largest`.
    """
    values = _product(rows[old:], rows)
    np.subtract(halves, values, out=values)
    columns = rows.shape[1]
    tolerance = [_tolerance(each, largest, columns, rows.dtype) for each in halves[old:].tolist()]
    order, candidates = _order(values, tolerance, old)
    if rows.dtype == np.float64 or candidates * CROWDED <= values.size:
        return order
    return _order_in_float64(rows, old)


def _order_in_float64(rows: NDArray[np.float32], old: int) -> Order:
    """Compare rows as `order_many` does, to more digits."""
    halves = 0.5 * np.einsum("ij,ij->i", rows, rows, dtype=np.float64)
    values = np.tile(halves, (len(rows) - old, 1))
    for start in range(0, rows.shape[1], PIECE):
        part = rows[:, start : start + PIECE].astype(np.float64)
        values -= part[old:] @ part.T
    columns, largest = rows.shape[1], float(halves.max())
    tolerance = [_tolerance(each, largest, columns, values.dtype) for each in halves[old:].tolist()]
    return _order(values, tolerance, old)[0]


def _order(values: NDArray[Any], tolerance: list[float], old: int) -> tuple[Order, int]:
    """Say which values are least, and how many of members cannot be told from these."""
    k = len(values)
    values[:, old:][_NOT_BEFORE[:k, :k]] = np.inf
    if not old:
        return Order(values, tolerance, [-1] * k, [False] * k), 0
    each = np.arange(k)
    best = values[:, :old].argmin(axis=1)
    least = values[each, best]
    values[each, best] = np.inf
    second = values[:, :old].min(axis=1)
    inside = values[:, old:].min(axis=1)
    values[each, best] = least
    limit = least + np.array(tolerance, values.dtype)
    sure = second > limit
    positions = np.where(sure, best, -1)
    doubtful = np.flatnonzero(~sure)
    candidates = int(np.count_nonzero(values[doubtful, :old] <= limit[doubtful, None]))
    return Order(values, tolerance, positions.tolist(), (inside > limit).tolist()), candidates


def _product(mine: NDArray[Any], others: NDArray[Any]) -> NDArray[Any]:
    """Multiply `(k, d)` by `(m, d)` transposed, long rows in pieces summed in float64."""
    columns = mine.shape[1]
    product: NDArray[Any]
    if columns <= LONGEST_PRODUCT:
        product = mine @ others.T
        return product
    product = np.zeros((len(mine), len(others)))
    for start in range(0, columns, LONGEST_PRODUCT):
        part = slice(start, start + LONGEST_PRODUCT)
        product += mine[:, part] @ others[:, part].T
    return product


def _tolerance(half: float, largest: float, columns: int, dtype: np.dtype[Any]) -> float:
    """Bound twice the error of a value, for any order of summation.

    `half` is half the query's squared norm, `largest` at least those of the others. A dot product
    of n terms errs by at most n u / (1 - n u) |x| |y| (Higham, Accuracy and Stability of Numerical
    Algorithms, section 3.1), u the unit roundoff, and by n times the smallest normal number where
    terms underflow. Where products overflow, the bound is infinite.
    """
    unit, tiny = _ROUNDING[dtype]
    terms = columns if dtype == np.float64 else min(columns, LONGEST_PRODUCT)
    slack = (terms + 8) * unit
    relative = 1.01 * slack / (1.0 - slack)
    error = relative * (2.0 * math.sqrt(half * largest) + 3.0 * largest) + columns * tiny
    return 2.0 * error
