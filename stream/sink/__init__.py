"""The sink: topics to Parquet files, each written once however often it is tried.

`sink` consumes; a `lane` is one topic's, `lanes` has the three kinds, `files` what stands on disk.
"""

from gamekeeper.stream.sink.lane import Lane
from gamekeeper.stream.sink.lanes import QueryLane, ScoreLane, VerdictLane
from gamekeeper.stream.sink.sink import Sink

__all__ = ["Lane", "QueryLane", "ScoreLane", "Sink", "VerdictLane"]
