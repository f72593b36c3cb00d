"""Whether plots can be drawn: what draws them is an extra."""

from __future__ import annotations

from importlib.util import find_spec


def undrawn() -> str | None:
    """Say in one line which extra brings the plots, or nothing where they can be drawn."""
    missing = [name for name in ("altair", "vl_convert") if find_spec(name) is None]
    if not missing:
        return None
    return f"no plots without {' and '.join(missing)}: pip install 'gamekeeper[plot]'"
