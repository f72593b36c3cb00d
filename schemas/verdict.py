"""The verdict: a change of an account's standing, as it travels on `gamekeeper.verdicts`.

One JSON object per record, keyed by account. Field order is fixed and keys inside `evidence` and
`promise` are sorted, so the same verdict is always the same bytes. Unknown fields are ignored and
the `schema` number follows the rule stated in `gamekeeper.schemas.event`.

**Ids** are uuid5 (RFC 9562) under `NAMESPACE`, of a JSON array that names what makes them unique.
A replayed event therefore makes the same id, and a reader may drop doubles by it. An account whose
state was lost counts its queries from 0 again; the time of its first event tells its lives apart.
"""

from __future__ import annotations

import json
import math
import uuid
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
import numpy as np
from msgspec import Meta

from gamekeeper.schemas.errors import SchemaError
from gamekeeper.schemas.wire import Time, decode_json

SCHEMA: Final = 1
NAMESPACE: Final = uuid.UUID("5cd399cd-7f60-5989-ae80-28bd3bedf9de")
"""uuid5(NAMESPACE_URL, "urn:gamekeeper:verdict"), written out: it must never change."""
TECHNIQUE: Final = "AML.T0024.002"
"""MITRE ATLAS: Exfiltration via AI Inference API, sub-technique Extract AI Model."""
TACTIC: Final = "AML.TA0010"
"""MITRE ATLAS: Exfiltration."""
MAX_BYTES: Final = 2**20
"""Largest verdict: Kafka's default `max.message.bytes`."""

Activity: TypeAlias = Literal["create", "update", "close"]
Severity: TypeAlias = Literal["low", "medium", "high", "critical"]
Kind: TypeAlias = Literal["theft", "variants", "other data", "load"]
Reason: TypeAlias = Literal["threshold", "escalation", "expired", "analyst", "profile"]
Disposition: TypeAlias = Literal["true positive", "false positive", "benign", "duplicate"]
"""What a finding turned out to be, as an analyst says who closes it."""

_Name = Annotated[str, Meta(min_length=1)]
_Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """One detector's finding about one account and model was opened, updated or closed."""

    schema: Annotated[int, Meta(description="Number of this contract.")] = SCHEMA
    id: Annotated[_Name, Meta(description="uuid5; the same for the same change.")]
    activity: Annotated[Activity, Meta(description="What happened to the finding.")]
    finding: Annotated[_Name, Meta(description="uuid5 of the episode that the activity is of.")]
    account: Annotated[_Name, Meta(description="Whoever the queries were billed to.")]
    model: Annotated[_Name, Meta(description="The protected model.")]
    detector: Annotated[_Name, Meta(description="Whose finding it is.")]
    statistic: Annotated[float, Meta(description="After the causing query; higher is worse.")]
    threshold: Annotated[float, Meta(description="What the statistic is held against.")]
    tail: Annotated[Literal["upper"], Meta(description="Which tail of the statistic alarms.")] = (
        "upper"
    )
    severity: Annotated[
        Severity,
        Meta(
            description="By the worst statistic: high from twice the threshold; critical from four "
            "times, where the kind is theft; low where a declared habit explains it, as the "
            "evidence says."
        ),
    ]
    queries: Annotated[_Count, Meta(description="Queries seen so far, the causing one included.")]
    query: Annotated[_Count, Meta(description="Index of the causing query, from 0.")]
    first_time: Annotated[Time, Meta(description="First event; microseconds since 1970.")]
    last_time: Annotated[Time, Meta(description="Causing event; microseconds since 1970.")]
    reason: Annotated[Reason, Meta(description="Why the standing changed.")]
    agreeing: Annotated[
        tuple[str, ...],
        Meta(description="Detectors that hold the account for an attacker after this change."),
    ] = ()
    kind: Annotated[
        Kind | None,
        Meta(
            description="What the detector's evidence is of: queries made from earlier ones "
            "(theft), many variants of some, data unlike the model's own, or many requests; null: "
            "that an account breaks what is declared of it (detector `declared`), or written by a "
            "build that did not say."
        ),
    ] = None
    summary: Annotated[
        str,
        Meta(
            description="The evidence in plain words, how sure it is, what speaks against it, and "
            "what to do; empty where a finding is closed, and from builds that told none."
        ),
    ] = ""
    disposition: Annotated[
        Disposition | None,
        Meta(
            description="What the analyst who closed the finding says that it was: a thief's (true "
            "positive), nothing of the kind (false positive), rightly seen and harmless (benign), "
            "or told of by another finding (duplicate); null: not closed by an analyst, or unsaid. "
            "The evidence has the analyst and the note."
        ),
    ] = None
    evidence: Annotated[
        dict[str, Any], Meta(description="What an analyst can open; the detector says what.")
    ]
    profile: Annotated[str, Meta(description="Hash of the profile in force.")]
    promise: Annotated[
        dict[str, Any], Meta(description="The profile's false-alarm promise; empty: none made.")
    ]
    topic: Annotated[str, Meta(description="Where the causing event lies.")]
    partition: Annotated[int, Meta(ge=0, lt=2**31, description="Its partition there.")]
    offset: Annotated[_Count, Meta(description="And its offset.")]
    row: Annotated[int, Meta(ge=0, lt=2**31, description="Row of the query within its event.")]
    technique: Annotated[str, Meta(description="MITRE ATLAS technique.")] = TECHNIQUE
    tactic: Annotated[str, Meta(description="MITRE ATLAS tactic.")] = TACTIC


_decoder: Final = msgspec.json.Decoder(Verdict)


def encode_verdict(verdict: Verdict) -> bytes:
    """Encode a verdict as JSON, the same bytes each time; NaN and infinities in it become null.

    Raises `SchemaError` for what JSON cannot say: a statistic or threshold that is not finite,
    arrays or other objects in the evidence.
    """
    for name in ("statistic", "threshold"):
        if not math.isfinite(getattr(verdict, name)):
            raise SchemaError(f"$.{name}", "is not finite")
    try:
        payload = _encoder.encode(verdict)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise SchemaError("$", f"cannot be encoded: {error}") from error
    if len(payload) > MAX_BYTES:
        raise SchemaError(
            "$", f"{len(payload)} bytes, at most {MAX_BYTES}; put less into the evidence"
        )
    return payload


def decode_verdict(payload: bytes) -> Verdict:
    """Decode and check a verdict.

    Raises `SchemaError`, with the path to the first fault, and nothing else.
    """
    if not payload:
        raise SchemaError("$", "the record has no value")
    if len(payload) > MAX_BYTES:
        raise SchemaError("$", f"{len(payload)} bytes, at most {MAX_BYTES}")
    return decode_json(payload, _decoder, SCHEMA)


def encode_json(value: dict[str, Any]) -> str:
    """Write evidence or a promise as JSON text, by the same rules as in `encode_verdict`."""
    return _encoder.encode(value).decode()


def verdict_id(
    profile: str,
    detector: str,
    account: str,
    model: str,
    first_time: int,
    query: int,
    activity: Activity = "create",
) -> str:
    """Make the id of what `query` caused; one query may close one finding and create the next.

    `first_time` is that of the account's first event (us), as in `Verdict`.
    """
    return _uuid("verdict", profile, detector, account, model, first_time, query, activity)


def finding_id(
    profile: str, detector: str, account: str, model: str, first_time: int, query: int
) -> str:
    """Make the uid of the episode that `query` opened; see `verdict_id`."""
    return _uuid("finding", profile, detector, account, model, first_time, query)


def _uuid(*parts: str | int) -> str:
    return str(uuid.uuid5(NAMESPACE, json.dumps(parts, separators=(",", ":"))))


def _plain(value: Any) -> Any:
    """Turn numpy's scalars, which detectors may leave in evidence, into Python's."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} in a verdict; use JSON's types")


_encoder: Final = msgspec.json.Encoder(enc_hook=_plain, order="deterministic")
