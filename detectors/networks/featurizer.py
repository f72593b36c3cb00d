"""Learned networks as featurizers: from a file's bytes to features, the same in any batching.

A network's file is a safetensors file (never a pickle) with the weights and, as metadata, the spec
they belong to. Features must not depend on what else is in a micro-batch, or replay would not equal
live; how many rows a matrix product has changes which kernel computes it and so the last bits. So
the network only ever sees chunks of one size, computed by one thread, the last filled up.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from gamekeeper.detectors.networks.build import Network, build
from gamekeeper.detectors.networks.spec import (
    NetworkSpec,
    Spec,
    channels_last,
    layout,
    parse,
    plain,
    takes_images,
)
from gamekeeper.schemas.errors import ProfileError

CHUNK = 8
"""Rows that a network sees at once."""
REACH = 10.0
"""How many ranges of the training data's values beyond it a value may lie; further ones are
brought back, so that every finite input has finite features."""
METADATA = "spec"
_FLOAT32 = torch.finfo(torch.float32).max


class NetworkFeaturizer:
    """A `Featurizer` that runs a network; `name` is the feature it makes, `spec` its spec.

    `sha256` is that of the file it came from. Computes on the CPU, or on CUDA where there is one.
    """

    def __init__(self, module: Network, spec: Spec, sha256: str) -> None:
        self._spec = parse(spec)
        self.name: str = self._spec.feature
        self.spec = plain(self._spec)
        self.sha256 = sha256
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._module = module.eval().to(self._device)

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Say whether rows of this shape are what the network was trained on."""
        return layout(shape) == self._spec.layout

    def __call__(self, inputs: NDArray[Any]) -> NDArray[np.float32]:
        """Map `(n, *shape)` inputs to `(n, d)` features, finite for finite inputs."""
        with torch.inference_mode(), _exact():
            # Of no rows, too, the features have a width.
            starts = range(0, max(1, len(inputs)), CHUNK)
            chunks = [self._chunk(inputs[at : at + CHUNK]) for at in starts]
            return np.concatenate(chunks)

    def _chunk(self, inputs: NDArray[Any]) -> NDArray[np.float32]:
        """Compute up to `CHUNK` rows as if there were `CHUNK`."""
        padded = torch.zeros(CHUNK, *self._spec.layout)
        padded[: len(inputs)] = _prepare(inputs, self._spec)
        features = self._module.features(padded.to(self._device))
        finite = features[: len(inputs)].nan_to_num(posinf=_FLOAT32, neginf=-_FLOAT32)
        array: NDArray[np.float32] = finite.cpu().numpy()
        return array


@contextmanager
def _exact() -> Iterator[None]:
    """Compute in full float32, by one thread: the same whatever the number of cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=False
        ):
            yield
    finally:
        torch.set_num_threads(threads)


def prepare(inputs: NDArray[Any], spec: Spec) -> Tensor:
    """Turn `(n, *shape)` inputs of any dtype into what the spec's network takes, float32.

    Images become `(n, c, h, w)`. Images of booleans, uint8 and uint16 are divided by their type's
    largest value; all other numbers are mapped so that `low` is 0 and `high` 1.
    Raises `ProfileError` where rows have another shape than the spec's.
    """
    return _prepare(inputs, parse(spec))


def _prepare(inputs: NDArray[Any], spec: NetworkSpec) -> Tensor:
    shape = inputs.shape[1:]
    if layout(shape) != spec.layout:
        raise ProfileError(
            f"rows of shape {shape} are not what the network was trained on, {spec.shape}: send "
            "such rows, or train a network for these"
        )
    if channels_last(shape):
        inputs = np.moveaxis(inputs, 3, 1)
    values = np.ascontiguousarray(_scale(inputs, spec)).reshape(len(inputs), *spec.layout)
    return torch.from_numpy(values)


def _scale(inputs: NDArray[Any], spec: NetworkSpec) -> NDArray[np.float32]:
    """Bring values to 0 to 1 where they are in the training data's range."""
    if takes_images(spec):
        if inputs.dtype == np.bool_:
            return inputs.astype(np.float32)
        if inputs.dtype in (np.uint8, np.uint16):
            return inputs.astype(np.float32) / np.float32(np.iinfo(inputs.dtype).max)
    low, high = np.asarray(spec.low, np.float64), np.asarray(spec.high, np.float64)
    span = high - low
    near = np.clip(inputs.astype(np.float64), low - REACH * span, high + REACH * span)
    scaled: NDArray[np.float32] = ((near - low) / span).astype(np.float32)
    return scaled


def dump(module: nn.Module, spec: Spec) -> bytes:
    """Encode a network with its spec as a safetensors file; the same network, the same bytes."""
    tensors = {name: each.detach().cpu().contiguous() for name, each in module.state_dict().items()}
    encoded: bytes = save_tensors(
        tensors, {METADATA: json.dumps(plain(parse(spec)), sort_keys=True)}
    )
    return encoded


def load(data: bytes, where: str = "network") -> NetworkFeaturizer:
    """Make a featurizer of a file's bytes.

    Raises `ProfileError`, naming `where`, on anything that is not the file of a network.
    """
    try:
        module, spec = restore(data)
    except ProfileError as error:
        raise ProfileError(f"{where}: {error}") from error
    return NetworkFeaturizer(module, spec, hashlib.sha256(data).hexdigest())


def restore(data: bytes) -> tuple[Network, dict[str, Any]]:
    """Bring back a network and its spec from what `dump` made; raises `ProfileError`."""
    spec = plain(parse(_spec_of(data)))
    try:
        tensors = load_tensors(data)
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise ProfileError(f"not a file of weights: {error}") from error
    with torch.device("meta"):  # takes no memory before the weights are known to fit
        module = build(spec)
    _check_fit(module, tensors)
    module.to_empty(device="cpu")
    module.load_state_dict(tensors)
    return module, spec


def _spec_of(data: bytes) -> Spec:
    """Read the metadata at the head of a safetensors file: a length of 8 bytes, then JSON."""
    size = int.from_bytes(data[:8], "little")
    try:
        spec = json.loads(json.loads(data[8 : 8 + size])["__metadata__"][METADATA])
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise ProfileError(
            f"not a network's file: it has no spec ({error!r}); give one that gamekeeper train made"
        ) from error
    if not isinstance(spec, dict):
        raise ProfileError("not a network's file: its spec is no mapping")
    return spec


def _check_fit(module: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Refuse weights that are not those of the module, or not numbers."""
    wanted = {name: (each.dtype, each.shape) for name, each in module.state_dict().items()}
    given = {name: (each.dtype, each.shape) for name, each in tensors.items()}
    wrong = sorted(name for name in wanted | given if wanted.get(name) != given.get(name))
    if wrong:
        raise ProfileError(
            f"the weights do not fit the spec, in {wrong[0]}: train the network anew"
        )
    broken = [name for name, each in tensors.items() if not each.isfinite().all()]
    if broken:
        raise ProfileError(f"the weights in {broken[0]} are not finite: train the network anew")
