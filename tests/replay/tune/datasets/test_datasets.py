"""Data sets from every kind of file, the same rows from all of them, and faults told by name."""

from __future__ import annotations

import gzip
import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from gamekeeper.replay.tune.datasets import Dataset, load_dataset
from gamekeeper.replay.tune.datasets.rows import Part, Rows
from gamekeeper.schemas.errors import TraceError
from support.traces import events, write_trace

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 9, 11), np.uint8)
LABELS = np.arange(12) % 3


def png(image: NDArray[Any]) -> bytes:
    """Encode an image."""
    data = io.BytesIO()
    Image.fromarray(image).save(data, "PNG")
    return data.getvalue()


def write_folder(folder: Path, images: NDArray[Any] = IMAGES) -> Path:
    """Write images as files in one folder per class."""
    for number, (image, label) in enumerate(zip(images, LABELS, strict=True)):
        path = folder / "set" / str(label) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(image))
    return folder / "set"


def write_idx(folder: Path, images: NDArray[Any] = IMAGES) -> Path:
    """Write IDX files, the images compressed."""
    path = folder / "train-images-idx3-ubyte.gz"
    head = struct.pack(">HBB3I", 0, 8, 3, *images.shape)
    path.write_bytes(gzip.compress(head + images.tobytes()))
    labels = struct.pack(">HBBI", 0, 8, 1, len(LABELS)) + LABELS.astype(np.uint8).tobytes()
    (folder / "train-labels-idx1-ubyte").write_bytes(labels)
    return path


def write_npz(folder: Path, images: NDArray[Any] = IMAGES) -> Path:
    """Write an archive as Keras' data sets have it."""
    path = folder / "set.npz"
    np.savez(path, x_train=images, y_train=LABELS[:, None])
    return path


def write_encoded(folder: Path, images: NDArray[Any] = IMAGES) -> Path:
    """Write Parquet of encoded images."""
    path = folder / "set.parquet"
    table = pa.table({"image": [png(each) for each in images], "label": LABELS})
    pq.write_table(table, path)
    return path


def write_structs(folder: Path, images: NDArray[Any] = IMAGES) -> Path:
    """Write Parquet of encoded images in structs."""
    path = folder / "structs.parquet"
    structs = [{"bytes": png(each), "path": "x.png"} for each in images]
    pq.write_table(pa.table({"image": structs, "label": LABELS}), path)
    return path


WRITERS = [write_folder, write_idx, write_npz, write_encoded, write_structs]


def pairs(dataset: Dataset) -> set[tuple[bytes, int]]:
    """Pair rows with their labels, in no order."""
    return {
        (row.tobytes(), label)
        for row, label in zip(dataset.inputs, dataset.labels.tolist(), strict=True)
    }


@pytest.mark.parametrize("write", WRITERS)
def test_every_kind_of_file_gives_the_same_rows(
    write: Callable[[Path], Path], tmp_path: Path
) -> None:
    """Folder, IDX, npz and both kinds of Parquet: the images and labels that were written."""
    dataset = load_dataset([write(tmp_path)])
    assert dataset.inputs.shape == (12, 9, 11)
    assert dataset.inputs.dtype == np.uint8
    assert pairs(dataset) == {
        (row.tobytes(), label) for row, label in zip(IMAGES, LABELS.tolist(), strict=True)
    }
    assert dataset.classes == ("0", "1", "2")
    assert dataset.groups is None


@pytest.mark.parametrize("write", WRITERS)
def test_a_folder_stands_for_the_files_in_it(write: Callable[[Path], Path], tmp_path: Path) -> None:
    """The folder of a file is as good as the file; the data set is the same, order included."""
    path = write(tmp_path)
    folder = path if path.is_dir() else tmp_path
    assert load_dataset([folder]).digest() == load_dataset([path]).digest()


def test_neither_order_nor_repetition_changes_a_data_set(tmp_path: Path) -> None:
    """The same rows in other files, twice and the other way round are the same data set."""
    paths = [write(tmp_path) for write in (write_idx, write_npz)]
    once = load_dataset(paths[:1])
    both = load_dataset(paths[::-1])
    assert both.digest() == once.digest()
    assert both.repeated == 12


def test_colours_and_class_names(tmp_path: Path) -> None:
    """Coloured images have a last axis of three; sub-folders' names are the classes, sorted."""
    for name, grey in (("zebra", 10), ("ant", 200)):
        (tmp_path / name).mkdir()
        image = np.full((8, 8, 3), grey, np.uint8)
        (tmp_path / name / "a.png").write_bytes(png(image))
    dataset = load_dataset([tmp_path])
    assert dataset.classes == ("ant", "zebra")
    assert dict(zip(dataset.labels.tolist(), dataset.inputs[:, 0, 0, 0], strict=True)) == {
        0: 200,
        1: 10,
    }


def test_vectors_from_lists_and_from_columns(tmp_path: Path) -> None:
    """A column of lists or several columns of numbers give the same vectors."""
    vectors = np.random.default_rng(1).normal(size=(12, 3)).astype(np.float32)
    lists, columns = tmp_path / "lists.parquet", tmp_path / "columns.parquet"
    named = {name: vectors[:, place] for place, name in enumerate("abc")}
    flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 3)
    pq.write_table(pa.table({"x": flat, "label": LABELS}), lists)
    pq.write_table(pa.table({**named, "label": LABELS, "shop": ["s"] * 12}), columns)
    assert load_dataset([lists]).inputs.shape == (12, 3)
    assert load_dataset([lists]).digest() == load_dataset([columns]).digest()


def test_traces_give_benign_rows_with_their_accounts(tmp_path: Path) -> None:
    """The benign rows of a trace, their labels as classes, one group per account."""
    made = events(accounts=3, each=10)
    dataset = load_dataset([write_trace(tmp_path / "a.parquet", made)])
    rows = {
        (row.tobytes(), label)
        for event in made
        for row, label in zip(event.inputs.array(), event.labels, strict=True)
    }
    assert {(row, int(dataset.classes[label])) for row, label in pairs(dataset)} == rows
    assert dataset.groups is not None
    assert set(dataset.groups.tolist()) == {0, 1, 2}


def test_attacks_in_a_trace_are_left_out_and_counted() -> None:
    """Of the shipped trace only the benign accounts' images are taken; the rest is told."""
    dataset = load_dataset(["sample"])
    assert dataset.skipped is not None
    assert set(dataset.skipped) == {"papernot", "t-rnd", "jb-topk", "jb-self", "tramer"}
    assert len(dataset) > 4000


def test_traces_of_several_models_need_a_choice(tmp_path: Path) -> None:
    """Labels of one model mean nothing to another, so the message asks for one of them."""
    made = events(accounts=1, each=5)
    other = write_trace(tmp_path / "b.parquet", made)
    table = pq.read_table(other)
    place = table.column_names.index("model")
    renamed = pa.array(["signs"] * len(table))
    pq.write_table(table.set_column(place, "model", renamed), other)
    paths = [write_trace(tmp_path / "a.parquet", made), other]
    with pytest.raises(TraceError, match=r"digits, signs.*--model"):
        load_dataset(paths)
    assert len(load_dataset(paths, model="signs")) == len(load_dataset(paths[:1]))


def test_a_column_names_what_belongs_together(tmp_path: Path) -> None:
    """Rows of one value of the column have one group number."""
    path = tmp_path / "tracks.parquet"
    tracks = np.arange(12) // 4
    images = [png(each) for each in IMAGES]
    pq.write_table(pa.table({"image": images, "label": LABELS, "track": tracks}), path)
    dataset = load_dataset([path], group="track")
    assert dataset.groups is not None
    places = [
        next(at for at, image in enumerate(IMAGES) if (image == row).all())
        for row in dataset.inputs
    ]
    assert len({*zip(tracks[places].tolist(), dataset.groups.tolist(), strict=True)}) == 3


def damaged(folder: Path) -> Path:
    """Write an image that ends too early."""
    path = write_folder(folder)
    file = path / "1" / "1.png"
    file.write_bytes(file.read_bytes()[:60])
    return path


def of_two_sizes(folder: Path) -> Path:
    """Write images, one of which is larger."""
    path = write_folder(folder)
    (path / "2" / "5.png").write_bytes(png(np.zeros((10, 11), np.uint8)))
    return path


def without_labels(folder: Path) -> Path:
    """Write IDX images without labels."""
    path = write_idx(folder)
    (folder / "train-labels-idx1-ubyte").unlink()
    return path


def cut_short(folder: Path) -> Path:
    """Write an IDX file that ends too early."""
    path = write_idx(folder)
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-1]))
    return path


def of_objects(folder: Path) -> Path:
    """Write an archive whose reading would run a pickle."""
    path = folder / "set.npz"
    np.savez(path, x=np.array([{}, {}], object), y=np.arange(2), allow_pickle=True)
    return path


def of_noise(folder: Path) -> Path:
    """Write what is no archive at all."""
    path = folder / "set.npz"
    path.write_bytes(b"no archive")
    return path


def of_one_array(folder: Path) -> Path:
    """Write an array without an archive around it."""
    path = folder / "set.npz"
    with path.open("wb") as file:
        np.save(file, np.arange(3))
    return path


def not_finite(folder: Path) -> Path:
    """Write an archive with a NaN in it."""
    path = folder / "set.npz"
    np.savez(path, x=np.array([[1.0], [np.nan]]), y=np.arange(2))
    return path


def of_text(folder: Path) -> Path:
    """Write something else."""
    path = folder / "rows.csv"
    path.write_text("1,2")
    return path


def unlabelled(folder: Path) -> Path:
    """Write Parquet of images without labels."""
    path = folder / "set.parquet"
    pq.write_table(pa.table({"image": [png(IMAGES[0])]}), path)
    return path


def ragged(folder: Path) -> Path:
    """Write Parquet of vectors of different lengths."""
    path = folder / "set.parquet"
    pq.write_table(pa.table({"x": [[1.0], [1.0, 2.0]], "label": [0, 1]}), path)
    return path


def deep(folder: Path) -> Path:
    """Write an image of 16 bits, which 8 bits cannot hold."""
    (folder / "set" / "0").mkdir(parents=True)
    image = np.full((8, 8), 1000, np.uint16)
    (folder / "set" / "0" / "a.png").write_bytes(png(image))
    return folder / "set"


FAULTS = [
    (damaged, r"1/1\.png: no image \(PNG, JPEG"),
    (of_two_sizes, r"2/5\.png: rows are 10x11 of uint8, those of .*0/0\.png are 9x11"),
    (without_labels, r"train-images.*expected train-labels-idx1-ubyte\[\.gz\] beside it"),
    (cut_short, r"train-images.*cut short"),
    (of_objects, r"set\.npz: not a readable npz archive.*numpy\.savez"),
    (of_noise, r"set\.npz: not a readable npz archive.*numpy\.savez"),
    (of_one_array, r"set\.npz: not a readable npz archive.*numpy\.savez"),
    (not_finite, r"set\.npz: holds NaN"),
    (of_text, r"rows\.csv: unknown kind of file; expected"),
    (unlabelled, r"set\.parquet: there is no column label"),
    (ragged, r"set\.parquet: x has lists of different lengths"),
    (deep, r"a\.png: an image of mode I;16; store it with 8 bits"),
]


@pytest.mark.parametrize(("write", "message"), FAULTS, ids=[each[0].__name__ for each in FAULTS])
def test_faults_name_the_file(write: Callable[[Path], Path], message: str, tmp_path: Path) -> None:
    """What cannot be used is refused with the file and with what was expected of it."""
    with pytest.raises(TraceError, match=message) as caught:
        load_dataset([write(tmp_path)])
    assert "allow_pickle" not in str(caught.value)


def test_nothing_to_train_on(tmp_path: Path) -> None:
    """A missing path and an empty folder are told as such."""
    with pytest.raises(TraceError, match="no such file"):
        load_dataset([tmp_path / "missing"])
    with pytest.raises(TraceError, match="nothing to train on; expected"):
        load_dataset([tmp_path])


@given(
    values=st.lists(st.integers(0, 60), min_size=1, max_size=80),
    limit=st.integers(1, 30),
    seed=st.integers(),
    cuts=st.lists(st.integers(0, 80), max_size=4),
)
def test_a_limit_keeps_the_same_distinct_rows_whatever_the_parts(
    values: list[int], limit: int, seed: int, cuts: list[int]
) -> None:
    """Cut up or whole, with or without a limit on memory: the same first rows of one order."""
    inputs = np.array(values, np.int64)[:, None]
    cut, whole = Rows(limit, seed), Rows(None, seed)
    for places in np.split(np.arange(len(values)), sorted(cuts)):
        cut.add(Part("part", inputs[places], inputs[places, 0]))
    whole.add(Part("whole", inputs, inputs[:, 0]))
    assert len(whole.sorted()) == len(set(values))
    assert cut.sorted() == whole.sorted()[:limit]
