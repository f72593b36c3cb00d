"""The commands of `gamekeeper` that need no running service: one per file, with what they share."""
