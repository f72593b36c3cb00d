"""Epochs until the held-out loss stops falling, the best weights kept, resumable after each one."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from gamekeeper.replay.tune.training.checkpoint import Checkpoint, State
from gamekeeper.schemas.errors import StateError, TraceError

PATIENCE = 5
"""Epochs without a better held-out loss after which a phase ends."""
_LAST_RATE = 0.1  # the learning rate falls evenly to this part of its first value


class Step(NamedTuple):
    """Progress: `done` of at most `total` epochs of a phase, and the last held-out loss."""

    phase: str
    done: int
    total: int
    loss: float


Advance = Callable[[Step], object]


class Phase(Protocol):
    """Something that is trained in epochs; randomness from torch's global generator only."""

    name: str
    rate: float
    """The learning rate of the first epoch."""
    optimiser: torch.optim.Optimizer
    rows: int
    """Rows to train on."""
    batch: int

    @property
    def module(self) -> nn.Module:
        """All that is learned, buffers included."""
        ...

    def begin(self) -> None:
        """Prepare the module before its first epoch."""

    def loss(self, rows: Tensor) -> Tensor:
        """Give the mean loss of the training rows `(n,)`, in training mode."""
        ...

    def held_out(self) -> float:
        """Give the loss on the rows held out, in evaluation mode."""
        ...


@contextmanager
def seeded(seed: int, *purpose: object) -> Iterator[None]:
    """Draw from a random stream that depends on the seed and the purpose only."""
    text = "/".join(map(str, (seed, *purpose)))
    number = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1
    with torch.random.fork_rng():
        torch.manual_seed(number)
        yield


def fit(phase: Phase, epochs: int, seed: int, checkpoint: Checkpoint, advance: Advance) -> State:
    """Train for at most `epochs`, then put the best epoch's weights into `phase.module`.

    Goes on where the checkpoint ends. Each epoch has a random stream of its own, so a training
    that was interrupted ends with the same bits as one that was not.
    """
    state, best = _resumed(phase, seed, checkpoint)
    while not state.done:
        epoch = len(state.losses)
        with seeded(seed, phase.name, epoch):
            _epoch(phase, phase.rate * (1 - (1 - _LAST_RATE) * epoch / epochs))
        with seeded(seed, phase.name, "held out"):
            phase.module.eval()
            state.losses.append(_finite(phase, phase.held_out()))
        if epoch == 0 or state.losses[epoch] < state.losses[state.best]:
            state.best = epoch
            best = _copy(phase.module)
        state.done = epoch + 1 >= epochs or epoch - state.best >= PATIENCE
        checkpoint.save(phase.name, _tensors(phase, best), state)
        advance(Step(phase.name, epoch + 1, epochs, state.losses[-1]))
    phase.module.load_state_dict(best)
    phase.module.eval()
    return state


def _epoch(phase: Phase, rate: float) -> None:
    phase.module.train()
    for group in phase.optimiser.param_groups:
        group["lr"] = rate
    for rows in torch.split(torch.randperm(phase.rows), phase.batch):
        if len(rows) < 2:
            continue  # a contrast takes two
        phase.optimiser.zero_grad()
        loss = phase.loss(rows)
        torch.autograd.backward(loss)
        phase.optimiser.step()


def _finite(phase: Phase, loss: float) -> float:
    if math.isfinite(loss):
        return loss
    raise TraceError(
        f"the loss of phase {phase.name} is {loss}: training ran away; look for rows with extreme "
        "values in the data"
    )


def _resumed(phase: Phase, seed: int, checkpoint: Checkpoint) -> tuple[State, dict[str, Tensor]]:
    kept = checkpoint.load(phase.name)
    if kept is None:
        with seeded(seed, phase.name, "begin"):
            phase.begin()
        return State(), _copy(phase.module)
    tensors, state = kept
    parts: dict[str, dict[str, Tensor]] = {"module": {}, "best": {}, "optimiser": {}}
    try:
        for name, tensor in tensors.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = tensor
        phase.module.load_state_dict(parts["module"])
        _restore(phase.optimiser, parts["optimiser"])
    except (KeyError, RuntimeError, ValueError) as error:
        raise StateError(
            f"the checkpoint of phase {phase.name} does not fit: {error}; begin anew with --restart"
        ) from error
    return state, parts["best"]


def _copy(module: nn.Module) -> dict[str, Tensor]:
    return {name: each.detach().clone() for name, each in module.state_dict().items()}


def _tensors(phase: Phase, best: dict[str, Tensor]) -> dict[str, Tensor]:
    tensors = {f"module.{name}": each for name, each in phase.module.state_dict().items()}
    tensors |= {f"best.{name}": each for name, each in best.items()}
    for number, values in phase.optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{number}.{name}": each for name, each in values.items()}
    return tensors


def _restore(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back an optimiser's state; its settings are those of the code."""
    whole = optimiser.state_dict()
    for name, tensor in tensors.items():
        number, _, key = name.partition(".")
        whole["state"].setdefault(int(number), {})[key] = tensor
    optimiser.load_state_dict(whole)
