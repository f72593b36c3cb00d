"""Ways in which a thief hides an attack, one per module; `catalog` lists them.

Each puts an oracle of its own before the victim's; `base` states their contract.
"""

from gamekeeper.replay.theft.evasions.catalog import CANDID, EVASIONS, evasion

__all__ = ["CANDID", "EVASIONS", "evasion"]
