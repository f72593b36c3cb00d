"""Training: what it minimises, what it holds out, how it goes on, and what comes of it."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from pathlib import Path
from typing import NoReturn

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer, load_digits
from torch import nn

from gamekeeper.detectors.networks import load
from gamekeeper.replay.tune.datasets import Dataset
from gamekeeper.replay.tune.training import Report, Step, TrainPlan, split, train
from gamekeeper.replay.tune.training.data import prepared, value_range
from gamekeeper.replay.tune.training.encoder import (
    MARGIN,
    REACH,
    contrastive_loss,
    hardened,
    nearest_others,
)
from gamekeeper.replay.tune.training.networks import spec_of
from gamekeeper.schemas.errors import ProfileError, SettingsError, StateError, TraceError


@pytest.fixture(scope="module")
def digits() -> Dataset:
    """Six hundred digits of 8x8 pixels."""
    loaded = load_digits()
    images = (loaded.images[:600] * 15).astype(np.uint8)
    return Dataset(inputs=images, labels=loaded.target[:600].astype(np.int64))


@pytest.fixture(scope="module")
def table() -> Dataset:
    """Vectors of thirty numbers of very different scales."""
    loaded = load_breast_cancer()
    return Dataset(loaded.data.astype(np.float32), loaded.target.astype(np.int64))


@pytest.fixture(scope="module")
def trained(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Path]:
    """Small networks of digits, trained for some epochs."""
    out = tmp_path_factory.mktemp("digits")
    return train(digits, TrainPlan(size="small", epochs=12), out), out


def files(folder: Path) -> dict[str, bytes]:
    """Read all files of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


class InterruptionError(Exception):
    """What stands for Ctrl-C."""


class Interrupter:
    """Interrupts a training after so many epochs over all phases."""

    def __init__(self, epochs: int) -> None:
        self.left = epochs

    def __call__(self, step: Step) -> None:
        """Count an epoch."""
        self.left -= 1
        if not self.left:
            raise InterruptionError


def refuse(step: Step) -> NoReturn:
    """Fail where a training is not refused."""
    raise AssertionError(step)


@given(st.integers(2, 9), st.integers(1, 5), st.integers(0, 2**32))
def test_the_loss_is_equation_six(n: int, d: int, seed: int) -> None:
    """The mean over rows of ||f0 - f+||^2 + max(0, m^2 - ||f0 - f-||^2), m the root of ten."""
    x0, xp, xn = (3 * np.random.default_rng(seed).normal(size=(3, n, d))).astype(np.float32)
    expected = np.mean(
        [
            np.linalg.norm(a - p) ** 2 + max(0, math.sqrt(10) ** 2 - np.linalg.norm(a - b) ** 2)
            for a, p, b in zip(x0, xp, xn, strict=True)
        ]
    )
    loss = contrastive_loss(*map(torch.from_numpy, (x0, xp, xn)))
    assert math.sqrt(10) == MARGIN
    assert loss.item() == pytest.approx(expected, rel=1e-4, abs=1e-4)


@given(st.integers(2, 9), st.integers(0, 2**32))
def test_the_negative_is_the_nearest_different_row(n: int, seed: int) -> None:
    """Never the row itself, and no other row is nearer."""
    rows = np.random.default_rng(seed).normal(size=(n, 3)).astype(np.float32)
    places = nearest_others(torch.from_numpy(rows)).tolist()
    for at, place in enumerate(places):
        distances = np.linalg.norm(rows - rows[at], axis=1)
        assert place != at
        assert distances[place] <= np.delete(distances, at).min() + 1e-5


def test_hardened_positives_fool_the_victim_within_their_reach() -> None:
    """Rows move against their labels, as far as they may and no further."""
    torch.manual_seed(0)
    victim = nn.Linear(5, 3)
    rows, std = torch.randn(200, 5), torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    labels = victim(rows).argmax(1)
    moved = hardened(rows, labels, victim, std)
    away = ((moved - rows) / std).abs()
    assert away.max() <= REACH + 1e-6
    assert away.max() > 0.9 * REACH
    loss = nn.CrossEntropyLoss()
    assert loss(victim(moved), labels) > loss(victim(rows), labels)
    assert not moved.requires_grad
    assert all(each.grad is None for each in victim.parameters())


@given(st.lists(st.integers(0, 6), min_size=8, max_size=60), st.integers(0, 9))
def test_no_group_is_on_both_sides(groups: list[int], seed: int) -> None:
    """Whole groups are held out, one at least and never all; every row is on one side."""
    numbers = np.unique(groups, return_inverse=True)[1].astype(np.int64)
    inputs, labels = np.zeros((len(groups), 8, 8), np.uint8), np.zeros(len(groups), np.int64)
    try:
        train_rows, held_out, _ = split(Dataset(inputs, labels, numbers), 0.2, seed)
    except TraceError:
        return  # a single row on one side
    assert sorted([*train_rows, *held_out]) == list(range(len(groups)))
    if numbers.max() > 0:
        assert not {*numbers[train_rows]} & {*numbers[held_out]}


def test_without_groups_each_class_gives_its_share(digits: Dataset) -> None:
    """A fifth of every class is held out."""
    held_out = split(digits, 0.2, 0).held_out
    for label, rows in enumerate(np.bincount(digits.labels)):
        assert np.sum(digits.labels[held_out] == label) == round(0.2 * rows)


def test_too_few_rows_are_refused() -> None:
    """Three rows cannot be split."""
    rows = Dataset(np.zeros((3, 8, 8), np.uint8), np.arange(3))
    with pytest.raises(TraceError, match="3 distinct rows are too few"):
        split(rows, 0.2, 0)


def test_it_learns(trained: tuple[Report, Path]) -> None:
    """Digits are told apart, copies are near, other digits far, noise is unlikely."""
    embedding, density = trained[0].networks
    assert embedding.figures["accuracy"] > 0.7
    assert embedding.figures["near"]["uniform"] > 0.6
    positives, negatives = (
        embedding.figures[f"{each}_distance"] for each in ("positive", "nearest")
    )
    assert positives["0.5"] < negatives["0.01"]
    assert density.figures["reconstruction_error_over_variance"] < 0.7
    usual, noise = (
        density.figures[name]["0.5"] for name in ("log_likelihood", "log_likelihood_of_noise")
    )
    assert noise < usual - 0.3


def test_the_folder_has_networks_and_their_report(trained: tuple[Report, Path]) -> None:
    """Two networks, the report that was returned, and no checkpoint; hashes are right."""
    report, out = trained
    assert {path.name for path in out.iterdir()} == {
        "embedding.safetensors",
        "log_likelihood.safetensors",
        "report.json",
    }
    assert json.loads((out / "report.json").read_bytes()) == json.loads(msgspec.json.encode(report))
    for network in report.networks:
        featurizer = load((out / network.file).read_bytes())
        assert featurizer.name == network.feature
        assert featurizer.sha256 == network.sha256


def test_networks_give_the_figures_that_are_reported(
    trained: tuple[Report, Path], digits: Dataset
) -> None:
    """The likelihoods of the rows held out, by the file alone, have the reported quantiles."""
    report, out = trained
    rows = digits.inputs[split(digits, TrainPlan().held_out, 0).held_out]
    features = load((out / "log_likelihood.safetensors").read_bytes())(rows)[:, 0]
    told = report.networks[1].figures["log_likelihood"]
    for level, value in told.items():
        assert np.quantile(features, float(level)) == pytest.approx(value, rel=1e-3)


@pytest.mark.parametrize("after", [1, 3, 5])
def test_an_interrupted_training_ends_the_same(after: int, digits: Dataset, tmp_path: Path) -> None:
    """Interrupted in any phase and given again: every file has the same bytes."""
    few = Dataset(digits.inputs[:150], digits.labels[:150])
    plan = TrainPlan(size="small", epochs=2, hardened=True)
    train(few, plan, tmp_path / "whole")
    with pytest.raises(InterruptionError):
        train(few, plan, tmp_path / "cut", Interrupter(after))
    steps: list[Step] = []
    train(few, plan, tmp_path / "cut", steps.append)
    assert len(steps) == 6 - after
    assert files(tmp_path / "cut") == files(tmp_path / "whole")
    assert not (tmp_path / "cut" / "checkpoint").exists()


def test_a_checkpoint_of_another_training_is_not_gone_on_with(
    digits: Dataset, tmp_path: Path
) -> None:
    """Another plan or other data in the same folder is refused, unless told to begin anew."""
    plan = TrainPlan(size="small", epochs=2)
    with pytest.raises(InterruptionError):
        train(digits, plan, tmp_path, Interrupter(1))
    other = Dataset(digits.inputs[1:], digits.labels[1:])
    for dataset, changed, named in (
        (digits, TrainPlan(size="small", epochs=3), "plan"),
        (other, plan, "data"),
    ):
        with pytest.raises(SettingsError, match=rf"another {named}.*--restart"):
            train(dataset, changed, tmp_path, refuse)
    short = TrainPlan(features=("log_likelihood",), size="small", epochs=1)
    report = train(digits, short, tmp_path, restart=True)
    assert [each.feature for each in report.networks] == ["log_likelihood"]


def test_a_damaged_checkpoint_is_told(digits: Dataset, tmp_path: Path) -> None:
    """A file that is no checkpoint is neither read as one nor silently dropped."""
    plan = TrainPlan(size="small", epochs=2)
    with pytest.raises(InterruptionError):
        train(digits, plan, tmp_path, Interrupter(1))
    path = tmp_path / "checkpoint" / "classify.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(StateError, match=r"classify.*--restart"):
        train(digits, plan, tmp_path, refuse)


def test_early_stopping_keeps_the_best_epoch(table: Dataset, tmp_path: Path) -> None:
    """Training ends before its bound, and the best epoch is told from later ones."""
    plan = TrainPlan(features=("embedding",), size="small", epochs=200)
    [network] = train(table, plan, tmp_path).networks
    losses = network.losses["classify"]
    assert len(losses) < 200
    assert np.argmin(losses) < len(losses) - 1
    assert network.figures["contrastive_loss"] == min(network.losses["contrast"])


def test_vectors_have_networks_of_their_own(table: Dataset, tmp_path: Path) -> None:
    """An MLP tells the classes apart; the density is that of scikit-learn's mixture."""
    report = train(table, TrainPlan(size="small", epochs=20), tmp_path)
    embedding, density = report.networks
    assert embedding.spec["kind"] == "mlp-encoder"
    assert embedding.figures["accuracy"] > 0.9
    assert density.spec["kind"] == "gaussian-mixture"
    usual, noise = (density.figures[name] for name in ("log_likelihood", "log_likelihood_of_noise"))
    assert noise["0.99"] < usual["0.1"]


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((28, 28), "conv-encoder"),
        ((3, 8, 9), "conv-encoder"),
        ((64, 64, 3), "conv-encoder"),
        ((5,), "mlp-encoder"),
    ],
)
def test_every_shape_that_is_promised_has_networks(shape: tuple[int, ...], kind: str) -> None:
    """Images of 8 to 64 pixels a side in any layout, and vectors, at both sizes."""
    for size, low in itertools.product(("paper", "small"), (0.0, -3.0)):
        spec = spec_of("embedding", shape, size, low, 1.0)  # type: ignore[arg-type]
        assert spec["kind"] == kind


def test_other_shapes_are_refused(tmp_path: Path) -> None:
    """Images that are too small or too large are refused before anything is trained."""
    for shape in ((7, 9), (65, 64)):
        random = np.random.default_rng(0).integers(0, 256, (20, *shape), np.uint8)
        with pytest.raises(ProfileError, match="8 to 64 pixels"):
            train(Dataset(random, np.arange(20) % 2), TrainPlan(), tmp_path, refuse)


def test_constant_data_is_refused(tmp_path: Path) -> None:
    """Nothing can be learned from rows of one value."""
    rows = Dataset(np.full((20, 5), 7.0), np.arange(20) % 2)
    with pytest.raises(TraceError, match="all values to train on are 7"):
        train(rows, TrainPlan(), tmp_path, refuse)


def test_one_class_is_enough(digits: Dataset, tmp_path: Path) -> None:
    """Without classes to tell apart there is no classifying phase."""
    ones = Dataset(digits.inputs[:60], np.zeros(60, np.int64))
    plan = TrainPlan(features=("embedding",), size="small", epochs=1)
    [network] = train(ones, plan, tmp_path).networks
    assert list(network.losses) == ["contrast"]
    with pytest.raises(TraceError, match="all labels are the same"):
        train(ones, dataclasses.replace(plan, hardened=True), tmp_path)


def test_constant_columns_are_no_trouble(table: Dataset) -> None:
    """A column without variance has a standard deviation of one."""
    inputs = table.inputs.copy()
    inputs[:, 3] = 5
    dataset = Dataset(inputs, table.labels)
    parts = split(dataset, 0.2, 0)
    data = prepared(dataset, parts, spec_of("embedding", (30,), "small", 0.0, 1.0))
    assert data.std[3] == 1
    assert (data.std > 0).all()


def test_every_column_of_vectors_has_its_own_range(table: Dataset) -> None:
    """It is that of the rows to train on; a constant column's reaches to 0, or from 0 to 1."""
    inputs = table.inputs.copy()
    inputs[:, :3] = [5, -2, 0]
    parts = split(Dataset(inputs, table.labels), 0.2, 0)
    low, high = value_range(Dataset(inputs, table.labels), parts)
    assert isinstance(low, tuple)
    assert isinstance(high, tuple)
    assert low[:3] == (0, -2, 0)
    assert high[:3] == (5, 0, 1)
    np.testing.assert_array_equal(low[3:], inputs[parts.train, 3:].min(axis=0))
    np.testing.assert_array_equal(high[3:], inputs[parts.train, 3:].max(axis=0))
