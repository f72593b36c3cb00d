"""What the contracts say: messages, tables and views, metrics and alerts, as Markdown."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml
from prometheus_client.metrics import MetricWrapperBase

from gamekeeper.detectors.engine import DeclaredHabit
from gamekeeper.detectors.engine.habits import EXPLAINS
from gamekeeper.replay.tables import sql
from gamekeeper.schemas import columns as table_columns
from gamekeeper.schemas.jsonschema import generate
from gamekeeper.schemas.tables import TABLES
from gamekeeper.stream.sink.health import Metrics as SinkMetrics
from gamekeeper.stream.worker.metrics import Metrics, PromiseStanding
from prose import code, notes, table

ROOT = Path(__file__).parents[2]
SUFFIXES = {"counter": "_total", "info": "_info"}
"""What Prometheus' text format adds to a metric's name."""


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
        return str(schema["$ref"]).rpartition("/")[2].lower()
    if schema.get("type") == "array" and "items" in schema and schema["items"]:
        return f"array of {_kind(schema['items'])}"
    return str(schema.get("contentEncoding") or schema.get("type"))


def declaration() -> str:
    """Tabulate what a profile says of a declared habit, and what the habits explain."""
    _, made = msgspec.json.schema_components([DeclaredHabit])
    explains = [(code(habit), ", ".join(map(code, kinds))) for habit, kinds in EXPLAINS.items()]
    head = table(["habit", "findings that it holds at low"], explains)
    return f"{head}\n\n{_fields(made[DeclaredHabit.__name__])}"


def columns(name: str) -> str:
    """Tabulate a table's columns, and what its docstring says of them."""
    rows = [
        (code(field.name), code(field.type), "yes" if field.nullable else "")
        for field in TABLES[name]
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
    worker.watch_profiles(lambda: {0: ""})
    worker.watch_promises(lambda: [PromiseStanding("", "", 0, {"theft": 0}, suspended=False)])
    return _metrics(worker)


def sink_metrics() -> str:
    """Tabulate the sink's metrics."""
    return _metrics(SinkMetrics())


def _metrics(part: Metrics | SinkMetrics) -> str:
    labels = {
        each._name: each._labelnames
        for each in vars(part).values()
        if isinstance(each, MetricWrapperBase)
    }
    rows = []
    for family in part.registry.collect():
        if family.name.startswith("gamekeeper_"):
            name = family.name + SUFFIXES.get(family.type, "")
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
