"""Runs the shared contract test; see `contract`."""

from contract import *  # noqa: F403
