"""Rows to train on, from traces, folders of images, IDX, npz and Parquet: one format per file."""

from gamekeeper.replay.tune.datasets.load import Dataset, dataset_of, load_dataset
from gamekeeper.replay.tune.datasets.pixels import pixels

__all__ = ["Dataset", "dataset_of", "load_dataset", "pixels"]
