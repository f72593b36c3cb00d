"""The habits, one per module; see `gamekeeper.replay.honest.catalog`."""
