"""What the reference pages say, read from the code: one function for each kind, as Markdown.

This is the only file of the documentation that imports gamekeeper.
"""

from __future__ import annotations

import inspect
import json
import math
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml
from prometheus_client.metrics import MetricWrapperBase

from gamekeeper import detectors, replay, schemas, stream
from gamekeeper.detectors.catalog import DETECTORS, build
from gamekeeper.detectors.engine import Policy
from gamekeeper.replay.tables import sql
from gamekeeper.replay.theft.attacks import ATTACKS
from gamekeeper.replay.theft.evasions import EVASIONS
from gamekeeper.replay.theft.listing import Listed
from gamekeeper.replay.theft.options import describe
from gamekeeper.schemas.errors import ProfileError
from gamekeeper.schemas.jsonschema import generate
from gamekeeper.schemas.tables import columns as table_columns
from gamekeeper.stream import logs
from gamekeeper.stream.kafka import BROKERS, Settings, variables
from gamekeeper.stream.tap import QueryTap, TapStats
from gamekeeper.stream.worker.metrics import Metrics
from prose import arguments, bullets, code, groups, notes, table

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
        rows.append((code(name), asks, code(kind.feature) or "the inputs", _threshold(name)))
    return table(["detector", "asks", "reads", "alarm above"], rows)


def detector(name: str) -> str:
    """Tabulate a detector's options, as `--set` takes them."""
    helps = arguments(DETECTORS[name].__init__)
    rows = [(f"`{name}.threshold`", _threshold(name), "alarm strictly above it")]
    for option, parameter in _options(name).items():
        default = code(parameter.default)
        if _has_to_be_given(name, option):
            default = "none"
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
    needed = {option: 1.0 for option in _options(name) if _has_to_be_given(name, option)}
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


def message(name: str) -> str:
    """Describe a message by its JSON Schema, and the types that it is made of."""
    document = json.loads(generate(f"{name}.schema.json"))
    parts = [document["description"], _fields(document)]
    for inner, told in document.get("$defs", {}).items():
        parts += [f"**{inner.lower()}**", _fields(told)]
    return "\n\n".join(parts)


def _fields(schema: Mapping[str, Any]) -> str:
    required = schema.get("required", [])
    rows = [
        (code(name), _kind(told), "yes" if name in required else "", told.get("description", ""))
        for name, told in schema["properties"].items()
    ]
    return table(["field", "type", "required", ""], rows)


def _kind(schema: Mapping[str, Any]) -> str:
    """Name a JSON Schema's type in a few words."""
    if "anyOf" in schema:
        return " or ".join(_kind(each) for each in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(code(each) for each in schema["enum"])
    if "$ref" in schema:
        return schema["$ref"].rpartition("/")[2].lower()
    if schema.get("type") == "array" and "items" in schema and schema["items"]:
        return f"array of {_kind(schema['items'])}"
    return str(schema.get("contentEncoding") or schema.get("type"))


def columns(name: str) -> str:
    """Tabulate a table's columns, and what its docstring says of them."""
    rows = [
        (code(field.name), code(field.type), "yes" if field.nullable else "")
        for field in table_columns.TABLES[name]
    ]
    return f"{notes(table_columns)[name.upper()]}\n\n{table(['column', 'type', 'null'], rows)}"


def views() -> str:
    """Tabulate the views of `gamekeeper sql`."""
    with tempfile.TemporaryDirectory() as folder, sql.connect(Path(folder)) as connection:
        rows = [
            (code(name), text, ", ".join(map(code, listed.split(", "))), code(sql.READS[name]))
            for name, text, listed in sql.describe(connection)
            if name in sql.view_help()
        ]
    return table(["view", "one row is", "columns", "empty without"], rows)


def metrics() -> str:
    """Tabulate the worker's metrics."""
    worker = Metrics()
    worker.watch_lag(lambda: {0: 0})
    labels = {
        each._name: each._labelnames
        for each in vars(worker).values()
        if isinstance(each, MetricWrapperBase)
    }
    rows = []
    for family in worker.registry.collect():
        if family.name.startswith("gamekeeper_"):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            names = labels.get(family.name) or {key for s in family.samples for key in s.labels}
            shown = ", ".join(map(code, sorted(set(names) - {"le"})))
            rows.append((code(name), family.type, shown, family.documentation))
    return table(["metric", "type", "labels", ""], rows)


def alerts() -> str:
    """Tabulate the alerts that ship with the compose stack."""
    document = yaml.safe_load((ROOT / "docker/prometheus/alerts.yml").read_text())
    rows = [
        (
            code(rule["alert"]),
            rule["labels"]["severity"],
            rule["annotations"]["summary"],
            rule["annotations"].get("description", ""),
        )
        for group in document["groups"]
        for rule in group["rules"]
    ]
    return table(["alert", "severity", "it says", "and advises"], rows)


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
    "message": message,
    "columns": columns,
    "views": views,
    "metrics": metrics,
    "alerts": alerts,
    "tap": tap,
    "tap-stats": tap_stats,
    "folders": folders,
}
"""The facts by the names that pages call them by; `detector similarity` has an argument."""
