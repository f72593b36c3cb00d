"""The demo: broker, service and sink as processes, with thieves among honest accounts."""

from gamekeeper.replay.demo.run import Accounts, Report, Watched, run

__all__ = ["Accounts", "Report", "Watched", "run"]
