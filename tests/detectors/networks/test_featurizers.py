"""Featurizers give each row the same features whatever else is in the batch, and read any file."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from gamekeeper.detectors.networks import NetworkFeaturizer, VqVae, build, dump, load, prepare
from gamekeeper.detectors.networks.featurizer import CHUNK, restore
from gamekeeper.schemas.errors import ProfileError

NARROW = {"channels": [5, 7], "hidden": 33}
SPECS: dict[str, dict[str, Any]] = {
    "encoder-28": {"kind": "conv-encoder", "shape": [28, 28]},
    "encoder-32": {"kind": "conv-encoder", "shape": [32, 32, 3]},
    "encoder-odd": {"kind": "conv-encoder", "shape": [2, 9, 13], "channels": [5, 7], "hidden": 33},
    "vae-28": {"kind": "vq-vae", "shape": [28, 28], "codes": 64},
    "vae-odd": {"kind": "vq-vae", "shape": [10, 11], "hidden": 24, "residual": 7, "code": 9},
    "vectors": {"kind": "mlp-encoder", "shape": [13]},
    "mixture": {"kind": "gaussian-mixture", "shape": [13], "components": 5},
    "binary": {"kind": "ood-binary", "shape": [9, 11], **NARROW},
    "msp": {"kind": "ood-msp", "shape": [10, 9, 3], "classes": 7, **NARROW},
    "odin": {"kind": "ood-odin", "shape": [2, 9, 13], "classes": 3, **NARROW},
    "odin-vectors": {"kind": "ood-odin", "shape": [13], "classes": 3},
    "mahalanobis": {"kind": "ood-mahalanobis", "shape": [13], "classes": 4},
}
TINY = SPECS["vectors"]
ROWS = 3 * CHUNK + 5
each_network = pytest.mark.parametrize("name", SPECS)
each_path = pytest.mark.parametrize("bad", ["empty", "short", "text", "cut", "huge"])
few = settings(max_examples=8, deadline=None)


def network(name: str) -> bytes:
    """Make a network's file with weights that no two rows agree on."""
    torch.manual_seed(len(name))
    module = build(SPECS[name])
    if isinstance(module, VqVae):
        x = torch.rand(64, *SPECS[name]["shape"]).reshape(64, 1, *SPECS[name]["shape"])
        module.codebook.start(module.encode(x).detach().movedim(1, 3).flatten(0, 2))
    if SPECS[name]["kind"] == "gaussian-mixture":
        module.means.normal_()
        module.precisions.copy_(torch.randn_like(module.precisions).triu())
        module.precisions.diagonal(dim1=1, dim2=2).copy_(torch.rand(5, 13) + 0.5)
    return dump(module, SPECS[name])


FILES: dict[str, NetworkFeaturizer] = {}


def featurizer(name: str) -> NetworkFeaturizer:
    """Load each network once."""
    if name not in FILES:
        FILES[name] = load(network(name))
    return FILES[name]


def rows(name: str, n: int = ROWS, seed: int = 0) -> NDArray[Any]:
    """Draw rows as events carry them."""
    return np.random.default_rng(seed).random((n, *SPECS[name]["shape"]), np.float32)


@each_network
@few
@given(data=st.data())
def test_a_row_alone_decides_its_features(name: str, data: st.DataObject) -> None:
    """Any choice and order of rows, in any batches, gives each row the same bits as alone."""
    inputs, run = rows(name), featurizer(name)
    alone = np.concatenate([run(inputs[i : i + 1]) for i in range(ROWS)])
    chosen = np.array(data.draw(st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=60)))
    cut = data.draw(st.integers(0, len(chosen)))
    found = np.concatenate([run(inputs[chosen[:cut]]), run(inputs[chosen[cut:]])])
    assert np.array_equal(found, alone[chosen])


@each_network
def test_neighbours_of_any_size_change_nothing(name: str) -> None:
    """Beside constant, huge and tiny rows, at every place in a chunk, a row's bits stay."""
    inputs, run = rows(name, 4), featurizer(name)
    alone = run(inputs)
    for neighbour in (0.0, 1.0, 3e38, -3e38, 1e-40):
        for place in range(2 * CHUNK - 3):
            batch = np.full((2 * CHUNK, *inputs.shape[1:]), neighbour, np.float32)
            batch[place : place + 4] = inputs
            assert np.array_equal(run(batch)[place : place + 4], alone)


@each_network
def test_views_and_threads_give_the_same_bits(name: str) -> None:
    """Where an array lies in memory, and in which order, does not matter; nor threads."""
    inputs, run = rows(name), featurizer(name)
    expected = run(inputs)
    shifted = np.zeros(inputs.size + 1, np.float32)
    shifted[1:] = inputs.ravel()
    assert np.array_equal(run(shifted[1:].reshape(inputs.shape)), expected)
    assert np.array_equal(run(np.asfortranarray(inputs)), expected)
    assert np.array_equal(run(inputs[::-1])[::-1], expected)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert np.array_equal(run(inputs), expected)
        assert torch.get_num_threads() == 3
        with ThreadPoolExecutor(2) as pool:
            assert all(np.array_equal(each, expected) for each in pool.map(run, [inputs] * 4))
    finally:
        torch.set_num_threads(threads)


@each_network
def test_features_have_the_promised_form(name: str) -> None:
    """Features are `(n, d)` float32 under the spec's name, of no rows too; inputs are untouched."""
    inputs, run = rows(name), featurizer(name)
    before = inputs.copy()
    found = run(inputs)
    width = run.spec["dimensions"] if run.name == "embedding" else 1
    assert (found.shape, found.dtype) == ((ROWS, width), np.float32)
    assert run(inputs[:0]).shape == (0, width)
    assert np.array_equal(inputs, before)
    assert run.name == run.spec["feature"]
    assert len(np.unique(found, axis=0)) == ROWS
    assert run.accepts(inputs.shape[1:])


@each_network
@pytest.mark.parametrize("dtype", ["bool", "int8", "uint64", "float16", "float32", "float64"])
def test_every_input_has_finite_features(name: str, dtype: str) -> None:
    """The ends of every type's range, and what lies between, give finite features."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        info = np.finfo(kind)
        ends = [info.max, -info.max, info.tiny, info.smallest_subnormal, 0]
    elif kind.kind == "b":
        ends = [False, True]
    else:
        ends = [np.iinfo(kind).min, np.iinfo(kind).max, 0]
    shape = SPECS[name]["shape"]
    mixed = np.random.default_rng(0).choice(np.array(ends, kind), (4, *shape))
    constant = np.stack([np.full(shape, end, kind) for end in ends])
    with np.errstate(all="raise", under="ignore"):
        assert np.isfinite(featurizer(name)(np.concatenate([mixed, constant]))).all()


@pytest.mark.parametrize("shape", [(9, 8), (9, 8, 3), (3, 9, 8)])
def test_layouts_of_one_image_agree(shape: tuple[int, ...]) -> None:
    """A network takes its images with channels first or last, with the same features."""
    module = build({**SPECS["encoder-odd"], "shape": shape})
    run = load(dump(module, {**SPECS["encoder-odd"], "shape": shape}))
    channels = 1 if len(shape) == 2 else 3
    image = np.random.default_rng(0).random((2, channels, 9, 8))
    last = np.moveaxis(image, 1, 3)
    assert run.accepts((channels, 9, 8))
    assert run.accepts((9, 8, channels))
    assert np.array_equal(run(image), run(last))
    assert run.accepts((9, 8)) == (channels == 1)
    if channels == 1:
        assert np.array_equal(run(image), run(image[:, 0]))
    assert not run.accepts((8, 9, channels))
    with pytest.raises(ProfileError, match=r"rows of shape \(72,\)"):
        run(image[:, 0].reshape(2, 72))


def test_values_are_brought_to_one_scale() -> None:
    """Bytes and 16-bit images are divided by their largest value, others mapped by the range."""
    spec = {**SPECS["encoder-odd"], "shape": [8, 8], "low": -1.0, "high": 3.0}

    def prepared(values: list[float], dtype: str) -> list[float]:
        images = np.resize(np.array(values, dtype), (1, 8, 8))
        found: list[float] = prepare(images, spec).flatten()[: len(values)].tolist()
        return found

    assert prepared([0, 255], "uint8") == [0, 1]
    assert prepared([0, 65535], "uint16") == [0, 1]
    assert prepared([0, 1], "bool") == [0, 1]
    assert prepared([-1, 1, 3], "int64") == [0, 0.5, 1]
    assert prepared([-1, 1, 3], "float64") == [0, 0.5, 1]
    assert prepared([-1e300, 1e300], "float64") == [-10, 11]


def test_columns_of_bytes_are_numbers() -> None:
    """In a vector, an integer is the number it is, whatever its type."""
    spec = {**TINY, "shape": [2], "high": 10.0}
    expected = [[0.5, 1.0]]
    for dtype in ("uint8", "int32", "float32"):
        assert prepare(np.array([[5, 10]], dtype), spec).tolist() == expected


def test_columns_have_ranges_of_their_own() -> None:
    """A column of small numbers keeps its digits beside one of large numbers."""
    spec = {**TINY, "shape": [2], "low": [0.0, -1e9], "high": [1e-3, 1e9]}
    found = prepare(np.array([[0.00025, 0.0], [0.0005, 1e9]]), spec)
    np.testing.assert_allclose(found.numpy(), [[0.25, 0.5], [0.5, 1.0]], rtol=1e-6)


@each_network
def test_files_bring_back_the_same_network(name: str) -> None:
    """Dumping what was restored gives the same bytes, and the hash is the file's."""
    data = network(name)
    module, spec = restore(data)
    assert dump(module, spec) == data
    assert spec.items() >= SPECS[name].items()
    assert load(data).sha256 == hashlib.sha256(data).hexdigest()
    assert module.training


def test_training_state_is_kept() -> None:
    """The codebook's running sums are in the file, so that training goes on as it was."""
    module, _ = restore(network("vae-odd"))
    assert {"codebook.sizes", "codebook.sums", "variance"} <= set(module.state_dict())


def broken(bad: str) -> bytes:
    """Make bytes that are no network's file."""
    data = network("vectors")
    return {
        "empty": b"",
        "short": data[:6],
        "text": b"hello, this is no network at all",
        "cut": data[: len(data) // 2],
        "huge": (2**63).to_bytes(8, "little") + data[8:],
    }[bad]


@each_path
def test_other_files_are_refused(bad: str) -> None:
    """What is no safetensors file raises `ProfileError` that names the file."""
    with pytest.raises(ProfileError, match="here: "):
        load(broken(bad), "here")


def test_foreign_weights_are_refused() -> None:
    """A safetensors file without a spec, or with other weights than its spec's, is refused."""
    tensors = load_tensors(network("vectors"))
    spec = json.dumps(TINY)
    cases = [
        (tensors, None, "no spec"),
        (tensors, {"spec": "[]"}, "no mapping"),
        (tensors, {"spec": "{"}, "no spec"),
        (tensors, {"spec": json.dumps({**TINY, "shape": [12]})}, "do not fit the spec, in "),
        ({**tensors, "more": torch.ones(1)}, {"spec": spec}, "in more"),
        ({**tensors, "mean": torch.ones(13).double()}, {"spec": spec}, "in mean"),
        ({**tensors, "mean": torch.full((13,), torch.nan)}, {"spec": spec}, "not finite"),
    ]
    for weights, metadata, message in cases:
        with pytest.raises(ProfileError, match=message):
            load(save_tensors(weights, metadata))


@settings(max_examples=60, deadline=None)
@given(place=st.integers(0, 2000), value=st.integers(0, 255), length=st.integers(0, 3000))
def test_damage_is_refused_or_harmless(place: int, value: int, length: int) -> None:
    """Any changed byte and any missing end raises `ProfileError` or gives a network."""
    data = bytearray(network("vectors"))
    data[place] = value
    for bad in (bytes(data), bytes(data[:length])):
        try:
            load(bad)
        except ProfileError:
            continue
