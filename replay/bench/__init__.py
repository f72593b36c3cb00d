"""`gamekeeper bench`: the papers' tables, measured on anybody's data.

`setting` makes what all runs of a bench share: victim, networks, thresholds, honest accounts.
`cell` is one attack under one evasion against that setting; `run` does all cells of a bench, in
parallel, and goes on where it stopped; `tables` lays them out. One file per bench in `benches`.
"""
