"""`gamekeeper bench`: the papers' tables, measured on anybody's data.

`setting` makes what all runs of a bench share: victim, networks, honest accounts, and the `rules`,
which are profiles. `cell` is one attack under one evasion against that setting, `judge` runs the
engine over what it sent; `run` does all cells of a bench, in parallel, and goes on where it
stopped; `tables` and `paper_tables` lay them out. `benches` names the benches, each with its
attacks, evasions and tables; `papers` has the papers' figures.
"""
