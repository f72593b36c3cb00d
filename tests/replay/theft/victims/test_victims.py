"""Victims of one's own: functions and torch modules, from Python and by name."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gamekeeper.replay.theft import Answers, Images
from gamekeeper.replay.theft.model import Architecture, Classifier
from gamekeeper.replay.theft.victims import (
    VictimError,
    classes_of,
    identity,
    of_callable,
    of_module,
    victim,
    write_victim,
)

IMAGES: Images = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)
THIRDS = np.array([[0.2, 0.5, 0.3], [0.6, 0.4, 0.0], [0.0, 0.0, 1.0]])
CODE = """
import numpy as np
from torch import nn

def probabilities(images):
    return np.tile([0.25, 0.75], (len(images), 1))

def labels(images):
    return [1] * len(images)

class Served:
    answer = staticmethod(probabilities)

class Network(nn.Module):
    pass

number = 3
module = nn.Sequential(nn.Flatten(), nn.Linear(20, 4))
"""


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module of the user's own in the working directory."""
    (tmp_path / "my_victims.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each])
    yield "my_victims"
    sys.modules.pop("my_victims", None)


def answer(value: Any, classes: int | None = None) -> Answers:
    """Ask a victim that always answers this."""
    return of_callable(lambda images: value, classes)(IMAGES)


def test_probabilities_are_labelled_by_the_largest() -> None:
    """A function's probabilities are kept as float32."""
    answers = answer(THIRDS)
    assert answers.labels.tolist() == [1, 0, 2]
    assert (answers.labels.dtype, answers.probabilities.dtype) == (np.int64, np.float32)
    np.testing.assert_array_equal(answers.probabilities, THIRDS.astype(np.float32))


def test_labels_stand_for_a_probability_of_one() -> None:
    """Who shows labels only tells nothing more."""
    answers = answer([2, 0, 1], classes=4)
    assert answers.labels.tolist() == [2, 0, 1]
    np.testing.assert_array_equal(answers.probabilities, np.eye(4)[[2, 0, 1]])


def test_answers_are_taken_as_they_are() -> None:
    """A label need not be the likeliest class, if the victim says so."""
    given = Answers(np.array([0, 1, 2]), THIRDS.astype(np.float32))
    answers = answer(given)
    assert answers.labels.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(answers.probabilities, given.probabilities)


@pytest.mark.parametrize(
    ("value", "classes", "reason"),
    [
        ([0, 1, 2], None, r"labels only: .*of_callable\(function, classes\)"),
        ([0, 1, 4], 4, "label 4 of 4 classes"),
        ([0, 1], 4, r"int64 of shape \(2,\) to 3 images"),
        ([0, 1, -1], 4, "labels from 0"),
        ([0.0, 1.0, 2.0], 4, "float64"),
        (None, 4, "object of shape"),
        (THIRDS[:2], None, r"shape \(2, 3\) to 3 images"),
        (THIRDS * 5, None, "softmax"),
        (THIRDS * np.nan, None, "softmax"),
        (np.eye(3, dtype=np.int64), None, "probabilities as real numbers"),
        (Answers(np.array([0, 1, 2]), np.zeros((2, 3), np.float32)), None, r"shape \(2, 3\)"),
    ],
)
def test_other_answers_are_refused(value: Any, classes: int | None, reason: str) -> None:
    """Each with what was answered and what is wanted."""
    with pytest.raises(VictimError, match=reason):
        answer(value, classes)


class Pixels(nn.Module):
    """Gives two pixels of what it is given as logits, and keeps what that was."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Look at the first row of the first channel."""
        self.given = inputs
        return inputs[:, 0, 0, :2]


@pytest.mark.parametrize("shape", [(300, 4, 5), (300, 4, 5, 3)])
def test_a_module_is_given_images_as_it_is_used_to(shape: tuple[int, ...]) -> None:
    """Pixels are 0..1, channels come first, in evaluation mode; logits become probabilities."""
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    module = Pixels()
    answers = of_module(module)(images)
    assert not module.training
    assert tuple(module.given.shape[1:]) == (*(shape[3:] or (1,)), 4, 5)
    first = images[:, 0, :2] if len(shape) == 3 else images[:, 0, :2, 0]
    powers = np.exp(first / 255)
    expected = powers / powers.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(answers.probabilities, expected, rtol=1e-5)


def test_a_module_may_want_other_inputs_and_give_probabilities() -> None:
    """`prepare` makes the inputs; without `logits` the outputs are taken as they are."""
    asked = of_module(Pixels(), lambda images: images[:, None] / 1000, logits=False)(IMAGES)
    np.testing.assert_allclose(asked.probabilities, IMAGES[:, 0, :2] / 1000, rtol=1e-6)


def test_objects_are_found_by_name(served: str) -> None:
    """A function, an attribute's attribute and a torch module, from the working directory."""
    assert victim(f"{served}:probabilities")(IMAGES).labels.tolist() == [1, 1, 1]
    assert victim(f"{served}:Served.answer")(IMAGES).labels.tolist() == [1, 1, 1]
    assert classes_of(victim(f"{served}:module"), IMAGES) == 4


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("my_victims:absent", "cannot be imported as package.module:name: .*absent"),
        ("my_absent:victim", "cannot be imported as package.module:name: .*my_absent"),
        (":victim", "cannot be imported"),
        ("my_victims:", "cannot be imported"),
        ("my_victims:number", "no callable"),
        ("my_victims:Network", "is a class"),
    ],
)
def test_other_names_are_refused(name: str, reason: str, served: str) -> None:
    """With the name and what it should have been."""
    with pytest.raises(VictimError, match=reason):
        victim(name)


def test_a_function_of_labels_is_told_what_is_missing(served: str) -> None:
    """The number of classes cannot be guessed."""
    with pytest.raises(VictimError, match="say how many classes"):
        classes_of(victim(f"{served}:labels"), IMAGES)


def test_a_file_is_a_victim_of_its_shape(tmp_path: Path) -> None:
    """A name with a colon may be a file, too; images of another shape are refused."""
    path = tmp_path / "a:b"
    write_victim(Classifier(Architecture((4, 5), 3), 0), path)
    found = victim(str(path))
    assert classes_of(found, IMAGES) == 3
    with pytest.raises(VictimError, match="takes images of 4x5, the data are 5x4"):
        classes_of(found, IMAGES.reshape(3, 5, 4))


def test_files_are_told_apart_by_content(tmp_path: Path) -> None:
    """A renamed file is the same victim, another one is not; objects go by name."""
    for name, seed in {"a": 0, "b": 0, "c": 1}.items():
        write_victim(Classifier(Architecture((4, 5), 3), seed), tmp_path / name)
    same, again, other = (identity(str(tmp_path / name)) for name in "abc")
    assert same == again != other
    assert identity("module:name") == "module:name"


def test_modules_run_where_their_weights_are() -> None:
    """A module without weights runs on the CPU."""
    assert of_module(Pixels())(IMAGES).probabilities.shape == (3, 2)
    module = nn.Sequential(nn.Flatten(), nn.Linear(20, 2)).to(torch.device("cpu"))
    assert of_module(module)(IMAGES).probabilities.shape == (3, 2)
