"""What the reference pages say, read from the code: one function for each kind, as Markdown.

Settings, detectors, attacks, evasions, the tap and the folders are here; `contracts` has the rest.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from contracts import alerts, columns, declaration, message, metrics, sink_metrics, views
from gamekeeper import detectors, replay, schemas, stream
from gamekeeper.detectors.catalog import DETECTORS, FITTED, build
from gamekeeper.detectors.engine import Policy
from gamekeeper.replay.honest import FAMILIES, HABITS
from gamekeeper.replay.theft.attacks import ATTACKS
from gamekeeper.replay.theft.evasions import EVASIONS
from gamekeeper.replay.theft.listing import Listed
from gamekeeper.replay.theft.options import describe
from gamekeeper.schemas.errors import ProfileError
from gamekeeper.stream import logs
from gamekeeper.stream.kafka import BROKERS, Settings, variables
from gamekeeper.stream.tap import QueryTap, TapStats
from prose import arguments, bullets, code, groups, table

ROOT = Path(__file__).parents[2]


def settings() -> str:
    """Tabulate the environment's variables, by what reads them."""
    known, parts = defaults(), []
    for name, listed in variable_helps().items():
        rows = [(code(each), code(known.get(each)), text) for each, text in listed.items()]
        parts.append(f"**{name}**\n\n{table(['variable', 'default', 'what it sets'], rows)}")
    return "\n\n".join(parts)


def variable_helps() -> dict[str, dict[str, str]]:
    """Tell what each variable sets, in groups."""
    return {**groups(Settings.from_env.__doc__ or ""), "Logs": bullets(logs.__doc__ or "")}


def defaults() -> dict[str, Any]:
    """Give the value of each of the settings' variables that is not set."""
    known: dict[str, Any] = dict.fromkeys(variables(), "")
    plain = Settings()
    for group, infix in ((plain, ""), (plain.topics, "TOPIC_"), (plain.security, "")):
        for field in group.__struct_fields__:
            variable = f"GAMEKEEPER_{infix}{field.upper()}"
            if variable in known:
                known[variable] = getattr(group, field)
    return {**known, BROKERS: plain.brokers}


def detector_catalog() -> str:
    """Tabulate the detectors: what each asks, and what it reads."""
    rows = []
    for name, kind in DETECTORS.items():
        asks = (inspect.getdoc(inspect.getmodule(kind)) or "").splitlines()[0].partition(": ")[2]
        rows.append((code(name), asks, code(kind.feature), _threshold(name)))
    return table(["detector", "asks", "feature", "alarm above"], rows)


def detector(name: str) -> str:
    """Tabulate a detector's options, as `--set` takes them."""
    helps = arguments(DETECTORS[name].__init__)
    rows = [(f"`{name}.threshold`", _threshold(name), "alarm strictly above it")]
    for option, parameter in _options(name).items():
        default = "none" if _has_to_be_given(name, option) else code(parameter.default) or "none"
        rows.append((f"`{name}.{option}`", default, helps[option]))
    return table(["option", "default", ""], rows)


def policy() -> str:
    """Tabulate the policy's options, below what its docstring says of them."""
    defaults = zip(Policy.__struct_fields__, Policy.__struct_defaults__, strict=True)
    rows = [
        (f"`policy.{name}`", "never" if each is None else code(each)) for name, each in defaults
    ]
    return f"{inspect.getdoc(Policy)}\n\n{table(['option', 'default'], rows)}"


def _threshold(name: str) -> str:
    needed = {
        option: FITTED[name].start for option in _options(name) if _has_to_be_given(name, option)
    }
    threshold = build(name, needed).threshold
    return "none: calibrated" if math.isnan(threshold) else code(threshold)


def _has_to_be_given(name: str, option: str) -> bool:
    """Ask the detector itself: without its options it says which one it cannot do without."""
    try:
        build(name, {})
    except ProfileError as error:
        return f"{name}.{option} is" in str(error)
    return False


def _options(name: str) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(DETECTORS[name]).parameters


def attacks() -> str:
    """Tabulate the attacks and their options."""
    return _listed("attack", ATTACKS)


def evasions() -> str:
    """Tabulate the evasions and their options."""
    return _listed("evasion", EVASIONS)


def habits() -> str:
    """Tabulate the habits, their families and options."""
    rows = []
    for name, each in HABITS.items():
        told = describe(each.listed).options
        options = ", ".join(code(f"{option}={one.default}") for option, one in told.items())
        rows.append((code(name), each.listed.summary, each.family, each.takes, options))
    families = [(family, text) for family, text in FAMILIES.items()]
    head = ["habit", "what it does", "family", "takes", "options, for `--set`"]
    return table(head, rows) + "\n\n" + table(["family", "what they have in common"], families)


def _listed(what: str, entries: Mapping[str, Listed]) -> str:
    rows = [(code(name), each.summary, each.paper) for name, each in entries.items()]
    options = [
        (code(name), code(option), code(told.default), told.help)
        for name, each in entries.items()
        for option, told in describe(each).options.items()
    ]
    return (
        table([what, "what it does", "paper"], rows)
        + "\n\nOptions, for `--set`:\n\n"
        + table([what, "option", "default", ""], options)
    )


def tap() -> str:
    """Tabulate the tap's options."""
    helps = arguments(QueryTap.__init__)
    rows = []
    for name, parameter in inspect.signature(QueryTap).parameters.items():
        default = "" if parameter.default is parameter.empty else code(parameter.default)
        rows.append((code(name), default, helps[name]))
    return table(["option", "default", ""], rows)


def tap_stats() -> str:
    """Tell what the tap counts."""
    return inspect.getdoc(TapStats) or ""


def folders() -> str:
    """List the packages' folders, in the words of their docstrings."""
    rows = []
    for package in (schemas, detectors, stream, replay):
        rows += [(f"`{folder}/`", text) for folder, text in sorted(_packages(package).items())]
    return table(["folder", "what is in it"], rows)


def _packages(package: ModuleType) -> dict[str, str]:
    root = Path(package.__path__[0]).resolve()
    found = {}
    for path in root.rglob("__init__.py"):
        text = inspect.cleandoc(path.read_text().partition('"""')[2].partition('"""')[0])
        found[str(path.parent.relative_to(ROOT))] = " ".join(text.split("\n\n")[0].split())
    return found


FACTS: dict[str, Callable[..., str]] = {
    "settings": settings,
    "detectors": detector_catalog,
    "detector": detector,
    "policy": policy,
    "attacks": attacks,
    "evasions": evasions,
    "habits": habits,
    "declaration": declaration,
    "message": message,
    "columns": columns,
    "views": views,
    "metrics": metrics,
    "sink-metrics": sink_metrics,
    "alerts": alerts,
    "tap": tap,
    "tap-stats": tap_stats,
    "folders": folders,
}
"""The facts by the names that pages call them by; `detector similarity` has an argument."""
