"""How far a partition is applied: the records that were read, and what is no record."""

from __future__ import annotations

from gamekeeper.stream.worker.trail import SLACK, Trail


def test_nothing_read_is_applied_up_to_where_reading_begins() -> None:
    """A fresh trail asks for no offset to be committed again."""
    assert Trail(7).applied(set()) == 7


def test_the_first_record_that_waits_bounds_what_is_applied() -> None:
    """Records are acknowledged in any order; those before the first that waits are forgotten."""
    trail = Trail(0)
    trail.read([0, 1, 2, 3], 4)
    acknowledged = {0, 1, 3}
    assert trail.applied(acknowledged) == 2
    assert not acknowledged
    acknowledged.add(2)
    assert trail.applied(acknowledged) == 4
    assert not acknowledged


def test_markers_are_applied_with_the_record_before_them() -> None:
    """Of a transaction's two records and marker, and an aborted one, nothing is left to wait."""
    trail = Trail(0)
    trail.read([0], 3)
    assert trail.applied(set()) == 0
    assert trail.applied({0}) == 3
    trail.read([], 6)
    assert trail.applied(set()) == 6


def test_a_gap_between_records_is_no_record() -> None:
    """After the first record, and after none: what was read next is next."""
    trail = Trail(0)
    trail.read([0, 5], 6)
    assert trail.applied({0}) == 5
    trail = Trail(2)
    trail.read([9], 10)
    assert trail.applied(set()) == 9


def test_records_that_are_read_again_wait_once() -> None:
    """Reading that goes back takes what it had read off the trail."""
    trail = Trail(0)
    trail.read([0, 1, 2], 3)
    trail.read([1, 2, 3], 4)
    acknowledged = {0, 1, 2, 3}
    assert trail.applied(acknowledged) == 4
    assert not acknowledged


def test_what_is_applied_behind_one_that_waits_takes_no_room() -> None:
    """While one record waits and a million behind it are applied, nothing grows."""
    trail = Trail(0)
    trail.read([0], 1)
    largest = 0
    for first in range(1, 1_000_001, 500):
        trail.read(range(first, first + 500), first + 500)
        assert trail.applied(set(range(first, first + 500))) == 0
        largest = max(largest, len(trail._order), len(trail._waiting))
    assert largest < 2 * SLACK
    assert trail.applied({0}) == 1_000_001
