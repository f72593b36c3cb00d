"""Knockoff Nets' adaptive strategy: a bandit learns which of the pool's classes pay."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from gamekeeper.replay.theft import Floats, Labels, Oracle, Sent, Start, ask
from gamekeeper.replay.theft.model import substitute
from gamekeeper.schemas.errors import GamekeeperError

WINDOW = 25
"""Past answers that rewards are measured against. The paper has such a window (section 4.1.2); its
length is chosen here: short enough to follow a substitute that learns with each image."""
LEAST = 1e-7
"""Probabilities below are taken as this one in logarithms; about what float32 resolves beside 1."""


class PoolLabelsError(GamekeeperError):
    """The attack chooses among the pool's classes, and the pool has none."""


def knockoff_adaptive(
    oracle: Oracle, start: Start, budget: int, rng: np.random.Generator
) -> Iterator[Sent]:
    """Steal with Knockoff Nets' adaptive strategy (Orekondy et al. 2019, section 4.1.2).

    Each query is a random image, not yet asked, of a class of the pool that a gradient bandit
    draws. The substitute guesses before it learns from the answer's probabilities, and the bandit
    is rewarded for a certain victim, for answers unlike the last ones, and for the substitute's
    loss, all three together, as the paper does when it uses several. The paper arranges the
    classes in a tree where their data set has one; here they are a flat set of actions, of which
    one that has run out of images is drawn no more.
    The attack ends early where the pool has fewer images than the budget.

    Args:
        oracle: the way to the model that is stolen.
        start: its pool and the pool's labels are used.
        budget: the number of queries.
        rng: decides the substitute's weights, the classes and the images.

    Yields:
        The images one by one, all of round 0.

    Raises:
        PoolLabelsError: the pool has no labels.
    """
    if start.pool_labels is None:
        raise PoolLabelsError(
            "knockoff-adaptive chooses among the classes of the pool, and this pool has no labels: "
            "give it labels, or use knockoff-random"
        )
    return _steal(oracle, start, start.pool_labels, budget, rng)


def _steal(
    oracle: Oracle, start: Start, pool_labels: Labels, budget: int, rng: np.random.Generator
) -> Iterator[Sent]:
    rows = rng.permutation(len(pool_labels))
    waiting = [list(rows[pool_labels[rows] == label]) for label in np.unique(pool_labels)]
    bandit, rewards, model = Bandit(len(waiting)), Rewards(), substitute(start, rng)
    left = budget
    for _ in rows:
        if not left:
            return
        action = bandit.draw(np.array([len(each) > 0 for each in waiting]), rng)
        image = start.pool[[waiting[action].pop()]]
        sent = ask(oracle, image, synthetic=False, round=0)
        yield sent
        if len(sent.images):
            left -= 1
            answer = sent.answers.probabilities
            bandit.learn(rewards(answer[0], model(sent.images).probabilities[0]))
            model.fit(sent.images, answer, 1)


class Bandit:
    """The gradient bandit algorithm over a flat set of actions (the paper's section 4.1.2)."""

    def __init__(self, actions: int) -> None:
        self._potentials = np.zeros(actions)
        self._draws = np.zeros(actions)
        self.chances = np.zeros(actions)
        """The policy that the last action was drawn from."""

    def draw(self, allowed: NDArray[np.bool_], rng: np.random.Generator) -> int:
        """Draw one of the `(n,)` allowed actions."""
        self.chances = softmax(np.where(allowed, self._potentials, -np.inf))
        self._action = int(rng.choice(len(self.chances), p=self.chances))
        self._draws[self._action] += 1
        return self._action

    def learn(self, reward: float) -> None:
        """Move the policy by the reward, already less its baseline, of the action drawn last.

        The rate is one over the number of times that the action was drawn.
        """
        direction = -self.chances
        direction[self._action] += 1.0
        self._potentials += reward / self._draws[self._action] * direction


class Rewards:
    """The sum of three rewards, each scaled to [0, 1] and less its mean over the window."""

    def __init__(self) -> None:
        self._answers: deque[Floats] = deque(maxlen=WINDOW)
        self._measures: deque[tuple[float, float, float]] = deque(maxlen=WINDOW)

    def __call__(self, answer: Floats, guess: Floats) -> float:
        """Reward the victim's and the substitute's `(k,)` probabilities of one image."""
        usual = np.mean(self._answers, axis=0) if self._answers else answer
        self._answers.append(answer)
        self._measures.append(measures(answer, guess, usual))
        seen = np.array(self._measures)
        spread = np.ptp(seen, axis=0)
        scaled = (seen - seen.min(axis=0)) / np.where(spread > 0, spread, 1.0)
        return float((scaled[-1] - scaled.mean(axis=0)).sum())


def measures(answer: Floats, guess: Floats, usual: Floats) -> tuple[float, float, float]:
    """Measure certainty, diversity and loss; all arguments are `(k,)` probabilities.

    The victim's margin between its two likeliest classes, what its answer has more than usual,
    and the cross entropy of the substitute's guess.
    """
    second, first = np.partition(answer, -2)[-2:]
    diversity = np.maximum(answer - usual, 0.0).sum()
    loss = -(answer * np.log(np.maximum(guess, LEAST))).sum()
    return float(first - second), float(diversity), float(loss)
