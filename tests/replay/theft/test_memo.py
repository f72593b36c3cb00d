"""Are results kept by what they were made of, and only the latest?"""

from __future__ import annotations

import numpy as np

from gamekeeper.replay.theft import Memo, digest


def test_a_result_is_made_once() -> None:
    """The second time, what was made is given; the oldest of too many is made anew."""
    made: list[str] = []
    memo = Memo[str](2)

    def made_for(name: str) -> str:
        made.append(name)
        return name

    for name in "aabacba":
        assert memo(name.encode(), lambda name=name: made_for(name)) == name
    assert "".join(made) == "abca"


def test_the_digest_tells_everything_apart() -> None:
    """Shape, dtype, values, and the border between two parts count."""
    row = np.arange(4, dtype=np.uint8)
    parts: list[tuple[object, ...]] = [
        (row,),
        (row.reshape(2, 2),),
        (row.view(np.int8),),
        (row[::-1],),
        (row, 1),
        (row, "1"),
        (row, None),
        ("ab",),
        ("a", "b"),
    ]
    assert len({digest(*each) for each in parts}) == len(parts)  # type: ignore[arg-type]
    assert digest(row, 1) == digest(row.copy(), 1)
