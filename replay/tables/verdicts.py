"""Verdicts read back, from the tables or from the topic, and laid out for people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from textwrap import wrap
from typing import Any, Final

import msgspec

from gamekeeper.replay.tables.sql import connect, run
from gamekeeper.replay.tables.times import EPOCH, moment
from gamekeeper.schemas.errors import SchemaError, SettingsError
from gamekeeper.schemas.text import printable
from gamekeeper.schemas.verdict import Verdict, decode_verdict
from gamekeeper.stream.kafka import Record, Settings, open_topic

HEADINGS = (
    *("time", "change", "severity", "account", "model", "detector"),
    *("statistic", "threshold", "queries", "finding"),
)

KINDS: Final = {
    "theft": "theft: makes queries from earlier ones",
    "variants": "variants of earlier queries: a thief's, crops, frames, explainers",
    "other data": "other data than the model's own: a thief's, or a customer's",
    "load": "load: many requests in a short time",
    None: "none: breaks what is declared of it, or is of a build that did not say",
}
"""What a finding's evidence is of, and who else makes such."""

WIDTH: Final = 80
_NAMES = ", ".join(f'"{name}"' for name in Verdict.__struct_fields__)
_SELECT = (
    f"SELECT DISTINCT ON (id) {_NAMES} FROM verdicts "  # noqa: S608 - the struct's own names
    "ORDER BY last_time, account, model, detector, query, activity <> 'close', id"
)

_LOST = "SELECT topic, sum(lost) FROM gaps GROUP BY topic ORDER BY topic"


def from_tables(folder: Path) -> list[Verdict]:
    """Read the verdicts of a folder's tables, each id once, by time.

    Raises `TraceError` where the tables cannot be read.
    """
    [answer] = run(connect(folder), _SELECT)
    return [_verdict(dict(zip(answer.names, row, strict=True))) for row in answer.rows]


def lost(folder: Path) -> list[str]:
    """Say of each topic how much had expired before the sink could read it; mostly nothing."""
    [answer] = run(connect(folder), _LOST)
    return [
        f"{folder}: {count} records of {printable(topic)} had expired before the sink read them; "
        '`gamekeeper sql "FROM gaps"` says where and when'
        for topic, count in answer.rows
    ]


def from_topic(
    settings: Settings, *, follow: bool, skipped: Callable[[str], None]
) -> Iterator[Verdict]:
    """Read the verdicts of the topic, each id once, partition by partition.

    With `follow` it goes on with those that come, until interrupted. What is not a verdict is
    reported to `skipped`, and so is what expires before it is read, and that a broker is waited
    for. Raises `BrokerError`.
    """
    seen: set[str] = set()
    topic = settings.topics.verdicts
    with open_topic(settings, topic, "beginning", lambda news: skipped(str(news))) as reader:
        while follow or not reader.at_end():
            for record in reader.poll():
                verdict = _decoded(record, skipped)
                if verdict is not None and verdict.id not in seen:
                    seen.add(verdict.id)
                    yield verdict


def _decoded(record: Record, skipped: Callable[[str], None]) -> Verdict | None:
    if record.value is None:
        return None
    try:
        return decode_verdict(record.value)
    except SchemaError as error:
        skipped(f"{record}: not a verdict, skipped: {error}")
        return None


def find(verdicts: Iterable[Verdict], uid: str) -> list[Verdict]:
    """Find the verdicts of one finding by its uid, or by that of one of them.

    The first digits are enough if they fit one finding only; else `SettingsError`.
    """
    known = list(verdicts)
    findings = sorted(
        {each.finding for each in known if each.finding.startswith(uid) or each.id.startswith(uid)}
    )
    if not findings:
        raise SettingsError(f"no finding or verdict {uid}; `gamekeeper verdicts` lists them")
    if len(findings) > 1:
        raise SettingsError(f"{uid} fits {len(findings)} findings; give more digits: {findings[0]}")
    return [each for each in known if each.finding == findings[0]]


def listed(verdict: Verdict) -> list[Any]:
    """Say a verdict in the words of `HEADINGS`."""
    return [
        moment(verdict.last_time),
        verdict.activity,
        verdict.severity,
        verdict.account,
        verdict.model,
        verdict.detector,
        verdict.statistic,
        verdict.threshold,
        verdict.queries,
        verdict.finding,
    ]


def explain(verdicts: Sequence[Verdict], stood: str = "") -> str:
    """Lay out one finding: who, what happened, and the evidence of each change.

    `stood` says how the profile's promise stood when it was opened, where there is a need to.
    """
    first = verdicts[0]
    lines = [
        f"finding    {first.finding}",
        f"account    {printable(first.account)}",
        f"model      {printable(first.model)}",
        f"detector   {first.detector}, alarm above {first.threshold:g}",
        f"kind       {KINDS[first.kind]}",
        f"technique  MITRE ATLAS {first.technique} (tactic {first.tactic})",
        f"profile    {first.profile}, {_promise(first)}",
    ]
    if stood:
        lines += wrap(
            printable(stood), WIDTH, initial_indent="promise    ", subsequent_indent=" " * 11
        )
    for each in verdicts:
        lines += ["", *_change(each)]
    return "\n".join(lines)


def _promise(verdict: Verdict) -> str:
    alpha = verdict.promise.get("alpha")
    if alpha is None:
        return "not calibrated: no false-alarm rate is promised"
    return (
        f"at most {100 * alpha:g} % of benign accounts ever flagged in "
        f"{verdict.promise.get('life')} queries, calibrated on {verdict.promise.get('accounts')}"
    )


def _change(verdict: Verdict) -> list[str]:
    what = {"create": "opened", "update": "updated", "close": "closed"}[verdict.activity]
    if verdict.disposition:
        what = f"{what} as {verdict.disposition}"
    return [
        f"{what} ({verdict.reason}) at query {verdict.query}, after {verdict.queries} queries",
        f"  verdict    {verdict.id}",
        f"  severity   {verdict.severity}",
        f"  agreeing   {', '.join(verdict.agreeing) or 'none'}",
        f"  statistic  {verdict.statistic:.6g}",
        f"  time       {moment(verdict.last_time).isoformat()} "
        f"(first query {moment(verdict.first_time).isoformat()})",
        f"  query at   {printable(verdict.topic)} partition {verdict.partition} "
        f"offset {verdict.offset} row {verdict.row}",
        *([] if not verdict.summary else ["  in words", *_wrapped(verdict.summary, 4)]),
        "  evidence",
        *_evidence(verdict.evidence, 4),
    ]


def _wrapped(text: str, indent: int) -> list[str]:
    space = " " * indent
    return wrap(printable(text), WIDTH, initial_indent=space, subsequent_indent=space)


def _evidence(value: Any, indent: int) -> list[str]:
    """Lay out JSON: one line per plain value, nested ones indented below their name."""
    space = " " * indent
    lines = []
    items = (
        value.items() if isinstance(value, dict) else ((f"{i}.", v) for i, v in enumerate(value))
    )
    for name, each in items:
        if isinstance(each, dict | list) and each and not _is_flat(each):
            lines += [f"{space}{printable(str(name))}", *_evidence(each, indent + 2)]
        else:
            lines.append(f"{space}{printable(str(name))}  {_plain(each)}")
    return lines


def _is_flat(value: dict[str, Any] | list[Any]) -> bool:
    """Say whether a nested value is small and plain enough for one line."""
    items = value.values() if isinstance(value, dict) else value
    return len(value) <= 6 and not any(isinstance(each, dict | list) for each in items)


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return ", ".join(f"{printable(str(name))} {_plain(each)}" for name, each in value.items())
    if isinstance(value, list):
        return ", ".join(_plain(each) for each in value)
    return printable(value) if isinstance(value, str) else msgspec.json.encode(value).decode()


def _verdict(row: dict[str, Any]) -> Verdict:
    for name in ("first_time", "last_time"):
        row[name] = (row[name] - EPOCH) // timedelta(microseconds=1)
    for name in ("evidence", "promise"):
        row[name] = msgspec.json.decode(row[name])
    row["agreeing"] = row["agreeing"] or ()  # tables of earlier versions lack these
    row["summary"] = row["summary"] or ""
    return msgspec.convert(row, Verdict)
