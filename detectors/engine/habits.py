"""Habits that people declare for an account, in the profile: what they say, and what is refused.

A declaration lowers the severity of findings that the habit explains. What an account may do under
it, and what becomes of one that does more, is in `declared`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from hashlib import sha256
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from gamekeeper.schemas.errors import ProfileError
from gamekeeper.schemas.verdict import Kind

EXPLAINS: Final[Mapping[str, tuple[Kind, ...]]] = {
    "probe": ("load",),
    "load test": ("load",),
    "explainer": ("variants", "other data"),
    "other camera": ("other data",),
}
"""The habits, and the kinds of findings that each explains. None explains theft.

An explainer hides parts of what it explains, so that its variants are other data as well."""
PROBE: Final = "probe"
"""The habit that sends the same few inputs again and again, and nothing else."""
INPUTS: Final = 20
"""Different inputs of a probe that does not say how many: enough for two of each of ten classes."""
MOST_INPUTS: Final = 100
"""Their digests are in the account's header, which is written with every micro-batch."""
MOST_BUDGET: Final = 10**9
"""Queries a day: more than workers score of one account."""
MOST_HABITS: Final = 1000
"""Declarations in a profile: more than people look after, one by one."""
MOST_TEXT: Final = 256
"""Characters of a name, as in events."""

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class DeclaredHabit(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True
):
    """What an account's owner says that it does, for how long, and how much of it."""

    account: Annotated[str, Meta(description="Whose habit it is: the exact name.")]
    habit: Annotated[str, Meta(description=f"What it does: {', '.join(EXPLAINS)}.")]
    owner: Annotated[str, Meta(description="Who answers for it: a person or a team.")]
    until: Annotated[
        str,
        Meta(
            description="When it ends, by the events' clocks: a date, which is its first moment in "
            "UTC, or a date and time (RFC 3339; UTC where it has no offset)."
        ),
    ]
    budget: Annotated[
        int, Meta(description=f"Queries a day (UTC) to each model, up to {MOST_BUDGET:,}.")
    ]
    inputs: Annotated[
        int | None,
        Meta(
            description="Of a probe alone: how many different inputs it may ever send, up to "
            f"{MOST_INPUTS}; {INPUTS} where it does not say."
        ),
    ] = None

    @cached_property
    def ends(self) -> int:
        """Give the first microsecond at which it holds no more; raises `ProfileError`."""
        for kind in (date, datetime):
            try:
                end = msgspec.convert(self.until, kind)
            except msgspec.ValidationError:
                continue
            if not isinstance(end, datetime):
                end = datetime(end.year, end.month, end.day)
            if end.tzinfo is None:
                end = end.replace(tzinfo=UTC)
            return (end - EPOCH) // timedelta(microseconds=1)
        raise ProfileError(
            f"until {self.until!r} is no date: write 2027-03-01, or 2027-03-01T12:00:00Z"
        )

    @cached_property
    def terms(self) -> str:
        """Identify what is declared: another word of it is another declaration."""
        return sha256(msgspec.json.encode(self, order="sorted")).hexdigest()[:16]


def checked(profile: str, habits: Sequence[DeclaredHabit]) -> tuple[DeclaredHabit, ...]:
    """Fill in how many inputs a probe has; `ProfileError` on what cannot be meant."""
    if len(habits) > MOST_HABITS:
        raise ProfileError(
            f"profile {profile!r} declares {len(habits)} habits, at most {MOST_HABITS}: revoke "
            "what has expired, and calibrate with traffic of what so many accounts do"
        )
    [(account, times)] = Counter(each.account for each in habits).most_common(1) or [("", 0)]
    if times > 1:
        raise ProfileError(
            f"profile {profile!r} declares {times} habits of account {account!r}: declare one, and "
            "give what does something else an account or API key of its own"
        )
    return tuple(_checked(profile, each) for each in habits)


def _checked(profile: str, each: DeclaredHabit) -> DeclaredHabit:
    try:
        _check(each)
    except ProfileError as error:
        raise ProfileError(
            f"profile {profile!r}, declared habit of account {each.account!r}: {error}"
        ) from error
    if each.habit == PROBE and each.inputs is None:
        return msgspec.structs.replace(each, inputs=INPUTS)
    return each


def _check(each: DeclaredHabit) -> None:
    for name in ("account", "owner"):
        text = getattr(each, name)
        if not text.strip() or len(text) > MOST_TEXT:
            raise ProfileError(f"{name} is {text[:20]!r}: write 1 to {MOST_TEXT} characters")
    if each.habit not in EXPLAINS:
        raise ProfileError(f"{each.habit!r} is none to declare; there are: {', '.join(EXPLAINS)}")
    if not 1 <= each.budget <= MOST_BUDGET:
        raise ProfileError(f"budget is {each.budget}: give 1 to {MOST_BUDGET:,} queries a day")
    if each.inputs is not None and each.habit != PROBE:
        raise ProfileError(f"inputs are counted of a probe alone, not of: {each.habit}; leave out")
    if each.inputs is not None and not 1 <= each.inputs <= MOST_INPUTS:
        raise ProfileError(
            f"inputs is {each.inputs}: give 1 to {MOST_INPUTS}; what sends more is no probe"
        )
    _ = each.ends
