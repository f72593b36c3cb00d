"""The sink: topics to Parquet files, each written once however often it is tried.

`sink` consumes, as the `member` of a group; `opening` takes partitions over, `writing` writes
batches. A `lane` is one partition's way into its table, `lanes` has the three kinds; `gaps` tells
of what is lost, `files` knows what stands on disk.
"""

from gamekeeper.stream.sink.lane import Lane
from gamekeeper.stream.sink.lanes import QueryLane, ScoreLane, VerdictLane
from gamekeeper.stream.sink.sink import Sink

__all__ = ["Lane", "QueryLane", "ScoreLane", "Sink", "VerdictLane"]
