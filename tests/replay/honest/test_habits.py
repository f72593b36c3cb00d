"""What single habits do, measured on what they send."""

from __future__ import annotations

import numpy as np
import pytest

from gamekeeper.replay.honest import Own, habit
from gamekeeper.replay.honest.coalitions import coalitions
from gamekeeper.replay.honest.patches import hidden, patches
from gamekeeper.replay.theft import Images, lens

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 4, 400)


def smooth(count: int) -> Images:
    """Make images in which neighbours are alike, as in photos."""
    noise = RNG.integers(0, 256, (count, 16, 16), dtype=np.uint8)
    return lens.blurred(noise, np.full(count, 1.5))


IMAGES = Own(smooth(400), LABELS)
ROWS = Own(RNG.normal(size=(400, 6)), LABELS)


def sent(name: str, own: Own, queries: int = 200) -> np.ndarray:
    """Let an account have a habit."""
    return habit(name)(own, queries, np.random.default_rng(3))


def distinct(queries: np.ndarray) -> int:
    """Count different queries."""
    return len({each.tobytes() for each in queries})


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("own", 200, 200),
        ("retries", 180, 199),
        ("health-check", 180, 181),
        ("ab-test", 100, 100),
        ("load-test", 15, 20),
        ("regression", 100, 100),
    ],
)
def test_repeats_repeat(name: str, least: int, most: int) -> None:
    """As many different queries are sent as the habit says."""
    assert least <= distinct(sent(name, ROWS)) <= most


def test_skewed_accounts_have_one_class() -> None:
    """Nine in ten of the queries are of one class, which differs from account to account."""
    classes = {each.tobytes(): label for each, label in zip(*IMAGES, strict=True)}
    favourites = set()
    for seed in range(8):
        queries = habit("skew")(IMAGES, 80, np.random.default_rng(seed))
        counts = np.bincount([classes[each.tobytes()] for each in queries], minlength=4)
        assert 0.75 < counts.max() / 80 < 1.0
        favourites.add(int(counts.argmax()))
    assert len(favourites) > 1


@pytest.mark.parametrize(
    ("name", "each"),
    [("burst", 3), ("moving-objects", 10), ("still-objects", 10), ("catalogue", 4), ("crops", 10)],
)
def test_variants_are_nearer_to_their_own(name: str, each: int) -> None:
    """Pictures of one thing differ, and differ less, but for light, than those of two things."""
    queries = sent(name, IMAGES).astype(np.float64)
    queries -= queries.mean(axis=(1, 2), keepdims=True)
    things = np.arange(len(queries)) // each
    apart = np.sqrt(((queries[:, None] - queries[None]) ** 2).mean(axis=(2, 3)))
    same = things[:, None] == things[None]
    np.fill_diagonal(same, val=False)
    assert distinct(queries) == len(queries)
    assert apart[same].mean() < 0.8 * apart[things[:, None] != things[None]].mean()


@pytest.mark.parametrize("name", ["lime", "shap", "occlusion", "tabular-shap"])
def test_explainers_keep_a_part(name: str) -> None:
    """All samples of one case share some of its values; with twenty cases, others' do not."""
    own = ROWS if name.startswith("tabular") else IMAGES
    queries = sent(name, own)
    assert (queries == own.inputs[0]).reshape(len(queries), -1).any(axis=1).mean() > 0.9
    many = sent(f"{name}-many", own)
    firsts = many[::10].reshape(20, -1)
    assert distinct(firsts) == 20


def test_coalitions_come_with_their_complements() -> None:
    """None is empty or whole, and the smallest and the largest are the most frequent."""
    drawn = coalitions(2000, 8, np.random.default_rng(0))
    assert (drawn[::2] == ~drawn[1::2]).all()
    sizes = np.bincount(drawn.sum(axis=1), minlength=9)
    assert sizes[0] == sizes[8] == 0
    expected = np.array([1 / (s * (8 - s)) for s in range(1, 8)])
    assert np.allclose(sizes[1:8] / 2000, expected / expected.sum(), atol=0.04)


def test_what_is_hidden_has_its_mean() -> None:
    """A hidden part has one value, that of its mean; the rest is as it was."""
    squares = patches((16, 16))
    which = np.zeros((2, len(squares)), np.bool_)
    which[1, 3] = True
    found = hidden(IMAGES.inputs[:2], squares, which)
    y, x = squares[3]
    assert np.array_equal(found[0], IMAGES.inputs[0])
    assert (found[1, y, x] == np.rint(IMAGES.inputs[1, y, x].mean())).all()
    assert (found[1] != IMAGES.inputs[1]).sum() <= found[1, y, x].size


def test_what_if_changes_one_column() -> None:
    """Within a case all columns but one stay, and that one runs from its least to its most."""
    queries = sent("what-if", ROWS, 20)
    moved = np.flatnonzero((queries != queries[0]).any(axis=0))
    assert len(moved) == 1
    column = queries[:, moved[0]]
    assert column[0] == ROWS.inputs[:, moved[0]].min()
    assert column[-1] == pytest.approx(ROWS.inputs[:, moved[0]].max())
    assert (np.diff(column) > 0).all()


def test_a_new_camera_comes_half_way() -> None:
    """The first half is as it was, the second darker in its lights, and softer."""
    queries = sent("new-camera", IMAGES)
    assert np.array_equal(queries[:100], IMAGES.inputs[:100])
    assert queries[100:].std() < 0.9 * IMAGES.inputs[100:200].std()


def test_scanners_know_two_values() -> None:
    """Black and full."""
    assert set(np.unique(sent("other-scanner", IMAGES))) == {0, 255}


@pytest.mark.parametrize("shape", [(16, 16), (16, 16, 3)])
def test_moving_and_turning_by_nothing_changes_nothing(shape: tuple[int, ...]) -> None:
    """Amounts of none leave images as they are; a whole pixel moves them by that."""
    images = RNG.integers(0, 256, (3, *shape), dtype=np.uint8)
    none = np.zeros(3)
    assert np.array_equal(lens.moved(images, none, none), images)
    assert np.array_equal(lens.turned(images, none), images)
    assert np.array_equal(lens.cropped(images, none, none, none + 1), images)
    assert np.array_equal(lens.lit(images, none + 1, none), images)
    assert np.array_equal(lens.moved(images, none + 1, none)[:, 1:], images[:, :-1])
    here = np.indices(images.shape[1:3])[None].repeat(3, axis=0)
    assert np.array_equal(lens.warped(images, here), images)
    by = np.array([0.25, -1.0, 1.75])
    there = here - by[:, None, None, None]
    assert np.array_equal(lens.warped(images, there), lens.moved(images, by, by))
