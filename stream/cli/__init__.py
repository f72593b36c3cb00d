"""The command `gamekeeper`: `main` is the entry point, `root` the list of commands, one file each.

It only parses and prints. The commands of the service are here, those that need none are in
`gamekeeper.replay.cli`; `output` and `progress` are what both print with.
"""
