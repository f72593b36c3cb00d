"""Does every habit of the catalog keep the contract stated in `replay/honest/base.py`?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gamekeeper.replay import honest
from gamekeeper.replay.honest import FAMILIES, HABITS, Own, habit

INPUTS = 120
SHAPES = {"images": [(12, 12), (9, 14, 3), (8, 8, 1)], "rows": [(7,), (1,)]}


def own_of(shape: tuple[int, ...]) -> Own:
    """Make what an account has: images with structure, or rows."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, INPUTS)
    if len(shape) > 1:
        return Own(rng.integers(0, 256, (INPUTS, *shape), dtype=np.uint8), labels)
    return Own(rng.normal(size=(INPUTS, *shape)).astype(np.float32), labels)


def cases() -> list[tuple[str, tuple[int, ...]]]:
    """List each habit with each shape that it takes."""
    return [
        (name, shape)
        for name, entry in HABITS.items()
        for kind, shapes in SHAPES.items()
        if entry.takes in ("any", kind)
        for shape in shapes
    ]


def sent(name: str, own: Own, queries: int, seed: int = 1) -> NDArray[np.generic]:
    """Let an account have a habit."""
    return habit(name)(own, queries, np.random.default_rng(seed))


@pytest.mark.parametrize(("name", "shape"), cases())
def test_queries_are_real(name: str, shape: tuple[int, ...]) -> None:
    """As many as asked for, of the same shape and type, finite, however few are asked for."""
    own = own_of(shape)
    for queries in (1, 2, 50, INPUTS):
        found = sent(name, own, queries)
        assert found.shape == (queries, *shape)
        assert found.dtype == own.inputs.dtype
        assert np.isfinite(found).all()


@pytest.mark.parametrize(("name", "shape"), cases())
def test_the_same_is_sent_again(name: str, shape: tuple[int, ...]) -> None:
    """The same data and seed make the same queries, and nothing that is given is changed."""
    own = own_of(shape)
    before = own.inputs.copy(), own.labels.copy()
    first = sent(name, own, 60)
    assert np.array_equal(first, sent(name, own, 60))
    assert np.array_equal(own.inputs, before[0])
    assert np.array_equal(own.labels, before[1])


@pytest.mark.parametrize("name", [name for name, each in HABITS.items() if each.takes == "any"])
def test_repeats_and_own_data_are_unchanged(name: str) -> None:
    """Who repeats, sends what he has, bit for bit."""
    own = own_of((12, 12))
    had = {each.tobytes() for each in own.inputs}
    assert {each.tobytes() for each in sent(name, own, INPUTS)} <= had


def test_each_module_is_listed() -> None:
    """Each module of `habits` is a habit of the catalog, of a family that is told."""
    folder = Path(str(honest.__file__)).parent / "habits"
    modules = {each.stem for each in folder.glob("*.py")} - {"__init__"}
    targets = {entry.listed.target.rpartition(".")[2] for entry in HABITS.values()}
    assert {target.partition(":")[0] for target in targets} == modules
    assert {entry.family for entry in HABITS.values()} == set(FAMILIES)


def test_there_are_enough() -> None:
    """At least 25 habits over images, and 10 over rows."""
    counts = [
        sum(entry.takes in ("any", kind) for entry in HABITS.values())
        for kind in ("images", "rows")
    ]
    assert counts[0] >= 25
    assert counts[1] >= 10
