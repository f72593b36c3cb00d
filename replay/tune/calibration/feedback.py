"""What analysts have said of accounts when they closed findings, for the accounts that calibrate.

Nothing is said of an account whose findings were all closed as duplicates, or without a word: it
counts as it would without feedback.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from gamekeeper.detectors.engine import Key
from gamekeeper.replay.tables import absence, connect, missing, run
from gamekeeper.replay.traces import Life
from gamekeeper.schemas.errors import TraceError

_SAID: Final = """
SELECT
    account,
    model,
    CASE
        WHEN bool_or(disposition = 'true positive') THEN 'thief'
        WHEN bool_or(status = 'open') THEN 'open'
        WHEN bool_or(disposition IN ('false positive', 'benign')) THEN 'honest'
    END AS said
FROM findings
GROUP BY account, model
HAVING said IS NOT NULL
"""


class Feedback(NamedTuple):
    """Accounts at models by what their findings say; the first that fits is what counts.

    `thieves` have a finding that was closed as a true positive, `open` one that is still open, so
    that nobody has said that it is harmless, `honest` one that was closed as a false positive or
    as benign.
    """

    thieves: frozenset[Key] = frozenset()
    open: frozenset[Key] = frozenset()
    honest: frozenset[Key] = frozenset()

    def allows(self, life: Life) -> bool:
        """Say whether a life may speak for benign accounts, as far as analysts know."""
        key = (life.account, life.model)
        return key not in self.thieves and key not in self.open


NO_FEEDBACK: Final = Feedback()


class Heeded(NamedTuple):
    """What feedback did to the accounts of traces.

    `thieves` and `open` were left out because of it, `honest` were used. `absent` counts the
    accounts that it names and that the traces lack.
    """

    thieves: list[Life]
    open: list[Life]
    honest: list[Life]
    absent: int


def read_feedback(folder: Path) -> Feedback:
    """Read what was said of accounts from the tables of a folder.

    Raises `TraceError` where it holds no verdicts or cannot be read.
    """
    connection = connect(folder)
    if missing(folder, "verdicts"):
        raise TraceError(absence(folder, "verdicts"))
    [answer] = run(connection, _SAID)
    said = [((account, model), word) for account, model, word in answer.rows]
    thieves, still, honest = (
        frozenset(key for key, word in said if word == each) for each in ("thief", "open", "honest")
    )
    return Feedback(thieves, still, honest)


def heed(
    feedback: Feedback, known: Sequence[Life], left: Sequence[Life], used: Sequence[Life]
) -> Heeded:
    """Say what feedback did: of the lives `known` of a model, those `left` otherwise, and `used`.

    `left` are those that no option leaves out, `used` those that calibrate or measure.
    """
    models = {life.model for life in known}
    named = {key for keys in feedback for key in keys if key[1] in models}
    return Heeded(
        thieves=_among(left, feedback.thieves),
        open=_among(left, feedback.open),
        honest=_among(used, feedback.honest),
        absent=len(named - {(life.account, life.model) for life in known}),
    )


def _among(lives: Sequence[Life], keys: frozenset[Key]) -> list[Life]:
    return [life for life in lives if (life.account, life.model) in keys]
