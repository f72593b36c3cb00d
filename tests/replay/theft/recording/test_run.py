"""Running an attack: what the recorder, the journal, the loot and the catalogs say."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gamekeeper.replay.theft import (
    Answers,
    AttackOver,
    Evasion,
    Images,
    Oracle,
    Reply,
    Request,
    Sent,
    Start,
    UnknownNameError,
    ask,
    resolve,
)
from gamekeeper.replay.theft.attacks import catalog
from gamekeeper.replay.theft.evasions import catalog as evasions
from gamekeeper.replay.theft.recording import Recorder, repeated, run
from gamekeeper.replay.theft.recording.journal import Journal
from gamekeeper.schemas.errors import TraceError
from support.natural_images import thief
from support.processes import python

PLAN = {"attack": "triples", "seed": 1}


class Counting:
    """A victim that counts what it is asked; the class is the first pixel's last digit."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, images: Images) -> Answers:
        """Answer with certainty."""
        self.asked += len(images)
        labels = images[:, 0, 0].astype(np.int64) % 10
        return Answers(labels, np.eye(10, dtype=np.float32)[labels])


def triples(oracle: Oracle, start: Start, budget: int, rng: np.random.Generator) -> Iterator[Sent]:
    """Ask three random images at a time."""
    for number in range(budget // 3):
        noise = rng.integers(0, 256, (3, 8, 8), dtype=np.uint8)
        yield ask(oracle, noise, synthetic=True, round=number)


def _rng() -> np.random.Generator:
    return np.random.default_rng(7)


def test_the_recorder_keeps_images_as_they_were_sent() -> None:
    """Changing an array after it was asked changes nothing in the record."""
    progress: list[int] = []
    recorder = Recorder(Counting(), progress.append)
    images = np.full((2, 8, 8), 13, np.uint8)
    reply = recorder(Request(images, True, 4, account=2))
    images[:] = 0
    [seen] = recorder.seen
    assert seen.request.images.min() == 13
    assert (seen.request.round, seen.request.account, seen.request.synthetic) == (4, 2, True)
    assert reply.answers.labels.tolist() == seen.answers.labels.tolist() == [3, 3]
    assert reply.sent.tolist() == [True, True]
    recorder(Request(images[:1], True, 5))
    assert progress == [2, 3]
    assert recorder.queries == 3


def _cut_after(requests: int, journal: Path, plan: object = PLAN) -> Counting:
    """Run the attack with a journal until it was yielded so often, or to its end."""
    victim = Counting()
    with Journal(journal, plan) as memory:
        oracle = Recorder(victim, memory=memory)
        for _ in itertools.islice(triples(oracle, thief(), 30, _rng()), requests):
            pass
    return victim


def _resume(journal: Path) -> tuple[Recorder, Counting]:
    victim = Counting()
    with Journal(journal, PLAN) as memory:
        recorder = Recorder(victim, memory=memory)
        run(triples, recorder, thief(), 30, _rng())
        return recorder, victim


KILLED = """
import itertools, os, signal, sys
from pathlib import Path
sys.path[:0] = {folders!r}
import test_run

with test_run.Journal(Path(sys.argv[1]), test_run.PLAN) as memory:
    oracle = test_run.Recorder(test_run.Counting(), memory=memory)
    for _ in itertools.islice(test_run.triples(oracle, test_run.thief(), 30, test_run._rng()), 4):
        pass
    os.kill(os.getpid(), signal.SIGKILL)
"""


def _killed_after_four(journal: Path) -> None:
    """Run the attack in a process that is killed with its journal open."""
    folders = [str(Path(__file__).parent), str(Path(__file__).parents[3])]
    done = python(KILLED.format(folders=folders), str(journal))
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize("torn", [None, 0, 1, 40])
def test_a_cut_attack_goes_on_without_asking_again(tmp_path: Path, torn: int | None) -> None:
    """What was answered is not asked twice, except for a row that was being written.

    It ended in order, or was killed; then `torn` bytes of its last row are missing.
    """
    journal = tmp_path / "journal"
    if torn is None:
        assert _cut_after(4, journal).asked == 12
    else:
        _killed_after_four(journal)
        [late] = tmp_path.glob("journal-*")
        late.write_bytes(late.read_bytes()[: -torn or None])
    recorder, victim = _resume(journal)
    whole = Recorder(Counting())
    run(triples, whole, thief(), 30, _rng())
    for ours, theirs in zip(recorder.seen, whole.seen, strict=True):
        np.testing.assert_array_equal(ours.request.images, theirs.request.images)
        np.testing.assert_array_equal(ours.answers.labels, theirs.answers.labels)
        np.testing.assert_array_equal(ours.answers.probabilities, theirs.answers.probabilities)
    assert victim.asked == 30 - 3 * (3 if torn else 4)
    assert _resume(journal)[1].asked == 0
    assert list(tmp_path.iterdir()) == [journal]


@pytest.mark.parametrize("end", [40, 5000])
def test_a_damaged_journal_is_said(tmp_path: Path, end: int) -> None:
    """Cut off or overwritten, it gives no answers but one line of what to do."""
    journal = tmp_path / "journal"
    _cut_after(4, journal)
    data = journal.read_bytes()
    for damaged in (data[:end], b"x" * len(data)):
        journal.write_bytes(damaged)
        with pytest.raises(TraceError, match=r"journal is damaged: .*; delete it to start"):
            _resume(journal)


def test_a_journal_has_one_owner(tmp_path: Path) -> None:
    """The same attack begun twice does not mix its answers."""
    journal = tmp_path / "journal"
    with Journal(journal, PLAN), pytest.raises(TraceError, match="does another attack write"):
        _cut_after(2, journal)


def test_a_journal_of_another_plan_is_refused(tmp_path: Path) -> None:
    """Answers to one attack are not taken for those to another."""
    journal = tmp_path / "journal"
    _cut_after(2, journal)
    with pytest.raises(TraceError, match="other options"):
        _cut_after(2, journal, {**PLAN, "seed": 2})


def test_a_journal_of_other_images_is_refused(tmp_path: Path) -> None:
    """Where the attack asks something else than it did, its answers do not fit."""
    journal = tmp_path / "journal"
    _cut_after(2, journal)
    with Journal(journal, PLAN) as memory:
        recorder = Recorder(Counting(), memory=memory)
        with pytest.raises(TraceError, match="asks something else"):
            recorder(Request(np.zeros((3, 8, 8), np.uint8), True, 0))


def _twice(oracle: Oracle, start: Start, rng: np.random.Generator) -> Oracle:
    """Send every image twice."""

    def double(request: Request) -> Reply:
        reply = oracle(request._replace(images=request.images.repeat(2, axis=0)))
        labels, probabilities = reply.answers
        return Reply(Answers(labels[::2], probabilities[::2]), reply.sent[::2])

    return double


def _brighter(oracle: Oracle, start: Start, rng: np.random.Generator) -> Oracle:
    """Send images one grey level brighter."""
    return lambda request: oracle(request._replace(images=request.images // 2 + 1))


def _ending(after: int) -> Evasion:
    """Give up after so many requests."""

    def evasion(oracle: Oracle, start: Start, rng: np.random.Generator) -> Oracle:
        numbers = itertools.count()

        def ending(request: Request) -> Reply:
            if next(numbers) == after:
                raise AttackOver("the accounts are used up")
            return oracle(request)

        return ending

    return evasion


def test_the_loot_is_what_the_thief_knows_and_paid_what_the_victim_saw() -> None:
    """Through an evasion that doubles, half of the victim's queries are loot, in order."""
    done = run(triples, Recorder(Counting()), thief(), 12, _rng(), [_twice])
    seen = np.concatenate([each.request.images for each in done.seen])
    assert len(seen) == 24
    np.testing.assert_array_equal(done.loot.images, seen[::2])
    np.testing.assert_array_equal(done.loot.paid, np.arange(2, 25, 2))
    np.testing.assert_array_equal(done.loot.labels, done.loot.images[:, 0, 0] % 10)
    assert done.over is None


def test_the_first_evasion_is_the_outermost() -> None:
    """The second one works on what the first one made of the attack's images."""
    done = run(triples, Recorder(Counting()), thief(), 3, _rng(), [_brighter, _twice])
    [seen] = done.seen
    np.testing.assert_array_equal(seen.request.images[::2], done.loot.images // 2 + 1)
    reversed_ = run(triples, Recorder(Counting()), thief(), 3, _rng(), [_twice, _brighter])
    assert len(reversed_.seen[0].request.images) == 6


def test_an_attack_that_is_over_keeps_what_it_had() -> None:
    """The reason is told, and all that was answered before is there."""
    done = run(triples, Recorder(Counting()), thief(), 30, _rng(), [_ending(4)])
    assert done.over == "the accounts are used up"
    assert len(done.seen) == 4
    assert len(done.loot.images) == 12


def test_an_attack_that_got_nothing_has_empty_loot() -> None:
    """No images, but of the right shapes."""
    done = run(triples, Recorder(Counting()), thief(), 30, _rng(), [_ending(0)])
    assert done.loot.images.shape == (0, 8, 8)
    assert done.loot.probabilities.shape == (0, 10)
    assert done.loot.labels.shape == done.loot.paid.shape == (0,)


@pytest.mark.parametrize(
    ("table", "name"),
    [*((catalog, name) for name in catalog.ATTACKS), *((evasions, n) for n in evasions.EVASIONS)],
)
def test_everything_listed_can_be_imported_and_says_where_it_is_from(
    table: object, name: str
) -> None:
    """Each name leads to a function, with a one-line summary and the paper's section."""
    entries = catalog.ATTACKS if table is catalog else evasions.EVASIONS
    assert callable(resolve(entries, name, "thing"))
    entry = entries[name]
    assert entry.summary.endswith(".")
    assert len(entry.summary) < 90
    assert entry.paper


def test_an_unknown_name_is_told_with_the_closest_one() -> None:
    """A slip of the pen is recognised, and all names are listed."""
    with pytest.raises(UnknownNameError, match="did you mean papernot") as raised:
        catalog.attack("papernott")
    for name in catalog.ATTACKS:
        assert name in str(raised.value)
    with pytest.raises(UnknownNameError, match=r"unknown evasion 'zzz'\. There are: "):
        evasions.evasion("zzz")


@pytest.mark.parametrize("name", sorted(evasions.CANDID))
def test_a_recorded_attack_can_be_asked_again(name: str) -> None:
    """Under an evasion that changes no answer, repeating it sends what the attack itself sends."""
    start = thief()
    evasion = evasions.evasion(name)
    alone = run(triples, Recorder(Counting()), start, 30, _rng())
    itself = run(triples, Recorder(Counting()), start, 30, _rng(), [evasion])
    again = run(repeated(alone), Recorder(Counting()), start, 30, _rng(), [evasion])
    for one, other in zip(itself.seen, again.seen, strict=True):
        np.testing.assert_array_equal(one.request.images, other.request.images)
        assert one.request[1:] == other.request[1:]
    for mine, yours in zip(itself.loot, again.loot, strict=True):
        np.testing.assert_array_equal(mine, yours)
