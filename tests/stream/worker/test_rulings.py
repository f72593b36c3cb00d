"""What rules an event follows from its offset alone, whatever is forgotten, decided or repeated."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gamekeeper.stream.worker.rulings import BEGINNING, Point, Rulings, decoded, encoded, ruled_by

ORDERS = st.lists(st.tuples(st.integers(1, 3), st.sampled_from("abc")), max_size=12)


def placed(orders: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """Give orders offsets, so many apart."""
    offset, found = 0, []
    for step, profile in orders:
        offset += step
        found.append((offset, profile))
    return found


def taken(rulings: Rulings, orders: list[tuple[int, str]]) -> Rulings:
    """Take orders at their offsets."""
    for offset, profile in orders:
        rulings = rulings.take(offset, profile)
    return rulings


def test_an_order_rules_what_follows_it() -> None:
    """Not itself, and nothing before; also when it is asked for again later."""
    rulings = taken(ruled_by("a", 0), [(5, "b"), (9, "a")])
    told = "".join(rulings.at(offset).profile for offset in range(12))
    assert told == "aaaaaabbbbaa"
    assert [rulings.at(offset).offset for offset in (0, 6, 10)] == [BEGINNING, 5, 9]
    assert (rulings.latest, rulings.decided) == ("a", 9)


def test_what_rules_already_is_no_new_point() -> None:
    """To announce a profile again, or one that cannot be taken, only leaves a mark."""
    rulings = ruled_by("a", 0).take(3, "a").refuse(7)
    assert rulings == Rulings(0, (Point(BEGINNING, "a"),), 7)


@given(orders=ORDERS, first=st.integers(0, 40))
def test_what_is_forgotten_rules_nothing_that_is_still_to_come(
    orders: list[tuple[int, str]], first: int
) -> None:
    """From the first offset on, all is as before; at most one point is older."""
    whole = taken(ruled_by("a", 0), placed(orders))
    part = whole.since(0, first)
    assert all(whole.at(offset) == part.at(offset) for offset in range(first, 45))
    assert sum(point.offset < first for point in part.points) <= 1
    assert part.decided == whole.decided


def test_a_new_life_of_the_topic_begins_with_the_last_profile() -> None:
    """Offsets of the other one say nothing there."""
    rulings = ruled_by("a", 0).take(100, "b").since(7, 3)
    assert rulings == ruled_by("b", 7)


@given(orders=ORDERS)
def test_rulings_survive_the_changelog(orders: list[tuple[int, str]]) -> None:
    """What is encoded is decoded; a partition without a row has none."""
    rulings = taken(ruled_by("a", 3), placed(orders))
    assert decoded(encoded(rulings)) == rulings
    assert decoded(None) is None
