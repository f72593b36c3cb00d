"""Turns: nobody's records are lost or moved, and whoever waits has a turn soon."""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gamekeeper.detectors.engine import Arrival
from gamekeeper.schemas.order import CloseOrder
from gamekeeper.stream.worker.dead_letters import DeadLetter
from gamekeeper.stream.worker.opening import Item, Records
from gamekeeper.stream.worker.shares import MAX_ROWS, QUANTUM, Reading, Shares

ORDER = CloseOrder(account="a", model="m", finding="f", time=0)


class Desk:
    """Shares, and how many rows each event has."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.shares = Shares(self.read, lambda partition, _: (partition, 0))
        self.rows: dict[int, int] = {}
        self.left: dict[int, int] = {}

    def put(self, account: str, rows: int, partition: int = 0) -> int:
        """Let an event of so many rows wait; 0 rows are a dead letter. Gives its offset."""
        offset = len(self.rows)
        self.rows[offset], self.left[offset] = rows, rows
        message = SimpleNamespace(topic="queries", partition=partition, offset=offset)
        self.shares.put(SimpleNamespace(key=account.encode(), value=b"x", message=message))
        return offset

    def read(self, event: Any) -> Reading:
        """Find an event, or a dead letter."""
        rows = self.rows[event.message.offset]
        if rows:
            return Reading(event, Item(event, Arrival(ORDER, event.message)), rows)
        offset = event.message.offset
        letter = DeadLetter(event.key, b"x", "queries", 0, offset, "schema", "$", "")
        return Reading(event, letter, 1)

    def take(self) -> tuple[dict[str, int], list[tuple[str, int]]] | None:
        """Work on what is next; give the rows of each account, and what events are done."""
        turn = self.shares.take()
        if turn is None:
            return None
        if isinstance(turn, Records):
            counted: dict[str, int] = defaultdict(int)
            assert len(turn.events) == len(turn.items) + len(turn.letters)
            for event in turn.events:
                counted[event.key.decode()] += max(1, self.rows[event.message.offset])
            assert sum(counted.values()) == turn.rows
            return counted, [(each.key.decode(), each.message.offset) for each in turn.events]
        event = turn.event
        rows = min(QUANTUM, self.left[event.message.offset])
        self.left[event.message.offset] -= rows
        if self.left[event.message.offset]:
            return {event.key.decode(): rows}, []
        self.shares.done(turn)
        return {event.key.decode(): rows}, [(event.key.decode(), event.message.offset)]


SIZES = st.sampled_from([0, 1, 5, 100, 200, QUANTUM, QUANTUM + 1, 700, MAX_ROWS])


@given(
    st.lists(
        st.one_of(st.tuples(st.sampled_from("abcde"), SIZES, st.integers(0, 1)), st.just(None)),
        max_size=60,
    )
)
def test_turns_are_fair_whatever_comes_when(steps: list[tuple[str, int, int] | None]) -> None:
    """In any interleaving of events and turns, none is lost, and each account's go in order.

    That is within a partition, should its producers not agree on one. No turn has more rows than a
    quantum, and nobody waits for more turns of another one than there are accounts, and one.
    """
    desk = Desk()
    waiting: dict[str, dict[int, int]] = defaultdict(dict)
    passed: dict[tuple[str, str], int] = defaultdict(int)
    for step in [*steps, *[None] * 10_000]:
        if step is not None:
            account, rows, partition = step
            waiting[account][desk.put(account, rows, partition)] = partition
            continue
        taken = desk.take()
        if taken is None:
            break
        counted, done = taken
        assert sum(counted.values()) <= MAX_ROWS
        assert max(counted.values()) <= QUANTUM
        for account, offset in done:
            partition = waiting[account][offset]
            assert min(at for at, home in waiting[account].items() if home == partition) == offset
            del waiting[account][offset]
        for served in counted:
            for other in waiting:
                passed[other, served] += other not in counted and bool(waiting[other])
                passed[served, other] = 0
                assert passed[other, served] <= 6
    assert not any(waiting.values())
    assert (desk.shares.events, desk.shares.bytes) == (0, 0)


def test_who_sends_little_goes_before_the_next_slice() -> None:
    """While large events are scored, an account's event waits for one slice at most."""
    desk = Desk()
    desk.put("large-1", MAX_ROWS)
    desk.put("large-2", MAX_ROWS)
    order = []
    for number in range(28):
        desk.put(f"small-{number % 3}", 1)
        for _ in range(2):
            taken = desk.take()
            assert taken is not None
            order.append(next(iter(taken[0])))
    assert order[::2] == [f"small-{number % 3}" for number in range(28)]
    assert order[1::2] == ["large-1", "large-2"] * 14


def test_new_accounts_do_not_keep_others_waiting() -> None:
    """With an account that comes for the first time in each batch, large events go on, too."""
    desk = Desk()
    desk.put("large", MAX_ROWS)
    seen: dict[str, int] = defaultdict(int)
    for number in range(20):
        desk.put(f"new-{number}", 1)
        desk.put("old", 1)
        taken = desk.take()
        assert taken is not None
        for account in taken[0]:
            seen[account] += 1
    assert (seen["large"], seen["old"]) == (10, 10)


def test_a_large_event_that_nobody_has_read_yet_is_found() -> None:
    """Where a slice is due, and what waits was not looked at, it is."""
    desk = Desk()
    desk.put("a", 1)
    assert desk.take() == ({"a": 1}, [("a", 0)])
    desk.put("a", QUANTUM + 1)
    assert desk.take() == ({"a": QUANTUM}, [])


def test_many_small_events_of_one_account_are_one_turn() -> None:
    """Of a flood of small events, a batch has a quantum, beside all that others have sent."""
    desk = Desk()
    for _ in range(1000):
        desk.put("flood", 1)
    for number in range(50):
        desk.put(f"account-{number}", 3)
    taken = desk.take()
    assert taken is not None
    assert taken[0] == {"flood": QUANTUM, **{f"account-{number}": 3 for number in range(50)}}


def test_a_batch_has_whole_turns_and_no_more_rows_than_may_be() -> None:
    """Where more accounts wait than fit, the next batch begins with those that had no turn."""
    desk = Desk()
    for account in range(40):
        desk.put(f"account-{account:02}", QUANTUM)
        desk.put(f"account-{account:02}", 1)
    batches = [desk.take() for _ in range(4)]
    assert [sorted(taken[0]) for taken in batches if taken] == [
        [f"account-{account:02}" for account in part]
        for part in (range(16), range(16, 32), range(40), range(32, 40))
    ]
    assert desk.take() is None


def test_what_was_forgotten_is_not_done() -> None:
    """A large event that is let go of while it is worked on takes nothing else off its line."""
    desk = Desk()
    desk.put("a", MAX_ROWS)
    turn = desk.shares.take()
    assert isinstance(turn, Item)
    desk.shares.clear()
    desk.put("a", 1)
    desk.shares.done(turn)
    assert desk.take() == ({"a": 1}, [("a", 1)])
