"""Recorded queries: files and topics in, files and topics out.

`trace` and `store` read a trace by account, `tracefiles` finds its files, `record` makes one of a
topic or of the tables, `play` sends one.
"""

from gamekeeper.replay.traces.play import Manner, Played, play
from gamekeeper.replay.traces.record import Recorded, Wanted, record
from gamekeeper.replay.traces.trace import Life, TraceEvent, TraceStore, open_trace, read_trace
from gamekeeper.replay.traces.tracefiles import (
    SAMPLE,
    SAMPLE_NAME,
    TraceFile,
    read_batches,
    trace_files,
)

__all__ = [
    "SAMPLE",
    "SAMPLE_NAME",
    "Life",
    "Manner",
    "Played",
    "Recorded",
    "TraceEvent",
    "TraceFile",
    "TraceStore",
    "Wanted",
    "open_trace",
    "play",
    "read_batches",
    "read_trace",
    "record",
    "trace_files",
]
