"""An attack run, and what the victim saw of it recorded as a trace.

`record` is the way in; `run` lets an attack ask the victim through a `recorder`, `journal` keeps
the answers so that it can go on, `trace` makes rows of them.
"""

from gamekeeper.replay.theft.recording.record import Plan, record, write_loot
from gamekeeper.replay.theft.recording.recorder import Recorder, Seen
from gamekeeper.replay.theft.recording.run import Loot, Run, repeated, run
from gamekeeper.replay.theft.recording.start import PER_CLASS, draw_start
from gamekeeper.replay.theft.recording.trace import Asked, Naming, asked, cut, tabulate

__all__ = [
    "PER_CLASS",
    "Asked",
    "Loot",
    "Naming",
    "Plan",
    "Recorder",
    "Run",
    "Seen",
    "asked",
    "cut",
    "draw_start",
    "record",
    "repeated",
    "run",
    "tabulate",
    "write_loot",
]
