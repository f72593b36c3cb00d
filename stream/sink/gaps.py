"""A gap: records that had expired before the sink read them, told as a row of the table `gaps`."""

from __future__ import annotations

import time

import pyarrow as pa

from gamekeeper.schemas.tables import GAPS, write_rows
from gamekeeper.stream.sink.files import Drafts, Partition


def draft_gap(drafts: Drafts, files: Partition, first: int, following: int) -> None:
    """Draft the row that tells of the offsets from `first` up to, but without, `following`.

    Its file is named by `first`, where the committed offset stands until it is in its place: one
    that a killed sink has left is removed and written anew, as those of a batch are. Raises
    `TraceError` where the folder cannot be written.
    """
    row = {
        "topic": files.topic,
        "partition": files.partition,
        "first": first,
        "next": following,
        "lost": following - first,
        "seen": time.time_ns() // 1000,
    }
    with drafts.add(files.gap(first)) as temporary:
        write_rows(pa.Table.from_pylist([row], schema=GAPS), temporary)
