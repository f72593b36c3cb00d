"""Model extraction attacks that really attack: they ask a victim, and what they ask is recorded.

One attack per module, named in `catalog`; `base` has the contract, `run` runs one.
"""
