"""Rows to train on, from traces, folders of images, IDX, npz and Parquet: one format per file."""
