"""Runs the shared contract test; see `contract`."""

from support.contract import *  # noqa: F403
