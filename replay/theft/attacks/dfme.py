"""DFME: a generator makes the images on which substitute and victim differ most."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gamekeeper.replay.theft import Floats, Images, Oracle, Sent, Start, ask, quantise
from gamekeeper.replay.theft.craft import NOISE, Generator
from gamekeeper.replay.theft.model import Classifier, substitute

BATCH = 256
"""Images per step (Truong et al. 2021, section 4; the defaults of their code, as the next ones)."""
STUDENT_STEPS = 5
"""Steps of the substitute for one of the generator (Zhang and Wagner, section III-B)."""
STUDENT_RATE = 0.1
MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4
GENERATOR_RATE = 1e-4
DECAY = 0.3
DECAY_AT = (0.1, 0.3, 0.5)
"""Both rates are multiplied by `DECAY` at these shares of the budget."""
EPSILON = 8.0
"""The finite difference's epsilon in grey levels: the standard deviation of each pixel's step. The
paper's 1e-3, in a pixel range of 2 and over all pixels of an image, would be rounded away. Eight
levels are 28 times the error of rounding (0.29), and leave an image what it was; on digits, 0.1
shows nothing, and anything from 1 to 64 equally much."""
COST = STUDENT_STEPS + 2
"""Queries per image of a batch in one round: the finite difference needs two."""
LEAST = 1e-7
"""Probabilities below are taken as this one in logarithms; about what float32 resolves beside 1."""


def dfme(
    oracle: Oracle,
    start: Start,
    budget: int,
    rng: np.random.Generator,
    *,
    batch: int = BATCH,
) -> Iterator[Sent]:
    """Steal with data-free model extraction (Truong et al. 2021; Zhang and Wagner, section III-B).

    A generator is trained to make images on which substitute and victim differ, the substitute to
    follow the victim on them (eq. (3)); both by the l1 distance between the substitute's logits
    and those recovered from the victim's probabilities. The generator's gradient is a forward
    difference in one random direction (eq. (4), m = 1), which costs a second query per image.

    Images are rounded before they are asked, so the difference is taken between the two images
    that the victim saw: rounding and the ends of the range bend its direction and leave its value
    true, as long as the step is much larger than a grey level (`EPSILON`). A victim that answers
    with labels alone shows no difference, and the generator then learns little.

    Args:
        oracle: the way to the model that is stolen.
        start: only the shape of its seeds is used.
        budget: the number of queries; the paper's are 2 and 20 million.
        rng: decides initial weights, noise and directions.
        batch: images per step; fewer where the budget has not one round of them.

    Yields:
        In each round the generator's images, those beside them, then the substitute's batches.
    """
    return DataFreeThief(start, budget, rng, batch).rounds(oracle)


class DataFreeThief:
    """Generator and substitute, with what trains them and what is left of the budget."""

    def __init__(self, start: Start, budget: int, rng: np.random.Generator, batch: int) -> None:
        self._left = budget
        self._rng = rng
        self._batch = min(batch, max(budget // COST, 1))
        self._generator = Generator(start.seeds.shape[1:], int(rng.integers(2**31)))
        self.student = substitute(start, rng)
        weights = self.student.layers.parameters()
        self._learn_to_make = torch.optim.Adam(self._generator.parameters(), lr=GENERATOR_RATE)
        self._learn_to_follow = torch.optim.SGD(
            weights, STUDENT_RATE, MOMENTUM, weight_decay=WEIGHT_DECAY
        )
        self._schedules = [
            _schedule(each, max(budget // (COST * self._batch), 1))
            for each in (self._learn_to_make, self._learn_to_follow)
        ]

    def rounds(self, oracle: Oracle) -> Iterator[Sent]:
        """Ask until the budget is spent; what is left below a round goes to the substitute."""
        number = 0
        while self._left >= COST * self._batch:
            yield from self._train_generator(oracle, number)
            yield from self._train_student(oracle, number)
            for schedule in self._schedules:
                schedule.step()
            number += 1
        while self._left:
            yield from self._train_student(oracle, number)

    def _train_generator(self, oracle: Oracle, number: int) -> Iterator[Sent]:
        made = self._make(self._batch)
        here = self._ask(oracle, made.detach().numpy(), number, probe=True)
        yield here
        steps = EPSILON * self._rng.standard_normal(here.images.shape)
        there = self._ask(oracle, here.images + steps, number, probe=True)
        yield there
        if len(here.images) == len(there.images) == self._batch:
            rise = difference(self.student, there) - difference(self.student, here)
            gradient = forward_difference(rise.detach().numpy(), here.images, there.images)
            self._learn_to_make.zero_grad()
            torch.autograd.backward(made, -torch.from_numpy(gradient) / self._batch)
            self._learn_to_make.step()

    def _train_student(self, oracle: Oracle, number: int) -> Iterator[Sent]:
        for _ in range(STUDENT_STEPS):
            size = min(self._batch, self._left)
            if not size:
                return
            with torch.no_grad():
                made = self._make(size).numpy()
            sent = self._ask(oracle, made, number, probe=False)
            yield sent
            if len(sent.images):
                self._learn_to_follow.zero_grad()
                torch.autograd.backward(difference(self.student, sent).mean())
                self._learn_to_follow.step()

    def _make(self, size: int) -> Tensor:
        noise = self._rng.standard_normal((size, NOISE), dtype=np.float32)
        made: Tensor = self._generator(torch.from_numpy(noise))
        return made

    def _ask(self, oracle: Oracle, pixels: NDArray[Any], number: int, *, probe: bool) -> Sent:
        sent = ask(oracle, quantise(pixels), synthetic=True, round=number, probe=probe)
        self._left -= len(sent.images)
        return sent


def difference(student: Classifier, sent: Sent) -> Tensor:
    """Measure the mean l1 distance of the victim's and the substitute's logits, `(n,)`.

    Softmax forgets what was added to all logits of an image; those recovered have mean 0.
    """
    logs = torch.from_numpy(sent.answers.probabilities).clamp_min(LEAST).log()
    logits = logs - logs.mean(dim=1, keepdim=True)
    return (student.logits(torch.from_numpy(sent.images)) - logits).abs().mean(dim=1)


def forward_difference(rise: Floats, here: Images, there: Images) -> Floats:
    """Estimate the gradient at images from `(n,)` rises on the way to others (eq. (4), m = 1).

    With `there = here + EPSILON * z` it is `rise / EPSILON * z`.
    """
    steps = there.astype(np.float32) - here
    rises = rise.reshape(-1, *[1] * (here.ndim - 1))
    return (rises * steps / EPSILON**2).astype(np.float32)


def _schedule(optimiser: torch.optim.Optimizer, rounds: int) -> torch.optim.lr_scheduler.LambdaLR:
    def factor(done: int) -> float:
        return float(DECAY ** sum(done >= share * rounds for share in DECAY_AT))

    return torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
