"""Who is called a thief among customers who are none: habits against a bench's rules.

`measure` makes accounts and notes what the detectors said of them; `tables` and `report` tell it.
"""

from gamekeeper.replay.honest.bench.measure import Key, Outcome, keys_of, measure, there
from gamekeeper.replay.honest.bench.report import write_report
from gamekeeper.replay.honest.bench.tables import Found

__all__ = ["Found", "Key", "Outcome", "keys_of", "measure", "there", "write_report"]
