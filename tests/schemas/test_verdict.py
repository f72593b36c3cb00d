"""Verdicts: the same bytes each time, validated when read, ids that never change."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gamekeeper.schemas.errors import SchemaError
from gamekeeper.schemas.verdict import (
    MAX_BYTES,
    Verdict,
    decode_verdict,
    encode_json,
    encode_verdict,
    finding_id,
    verdict_id,
)

MakeVerdict = Callable[..., Verdict]

keys = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
evidence = st.dictionaries(
    keys,
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | keys,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)


def without_nan(value: Any) -> Any:
    """Say the obvious way what the evidence becomes: floats that are not finite are None."""
    if isinstance(value, dict):
        return {key: without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


@settings(max_examples=200, deadline=None)
@given(evidence)
def test_round_trip(make_verdict: MakeVerdict, values: dict[str, Any]) -> None:
    """Every verdict comes back equal but for NaN and infinities, and encodes to the same bytes."""
    payload = encode_verdict(make_verdict(evidence=values))
    back = decode_verdict(payload)
    assert back == make_verdict(evidence=without_nan(values))
    assert encode_verdict(back) == payload
    assert json.loads(payload)["evidence"] == back.evidence


def test_bytes_do_not_depend_on_the_order_of_keys(make_verdict: MakeVerdict) -> None:
    """Field order is that of the class, and keys within evidence are sorted."""
    one = encode_verdict(make_verdict(evidence={"b": 1, "a": {"d": 2, "c": 3}}))
    two = encode_verdict(make_verdict(evidence={"a": {"c": 3, "d": 2}, "b": 1}))
    assert one == two
    assert list(json.loads(one)) == list(Verdict.__struct_fields__)
    assert list(json.loads(one)["evidence"]) == ["a", "b"]


def test_numpy_scalars_are_written_as_numbers(make_verdict: MakeVerdict) -> None:
    """Evidence may hold numpy's scalars."""
    values = {"i": np.int64(3), "f": np.float32(0.5), "n": np.float32("nan"), "b": np.bool_(True)}
    back = decode_verdict(encode_verdict(make_verdict(evidence=values)))
    assert back.evidence == {"i": 3, "f": 0.5, "n": None, "b": True}
    assert encode_json(values) == '{"b":true,"f":0.5,"i":3,"n":null}'


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"statistic": float("nan")}, r"\$\.statistic"),
        ({"threshold": float("inf")}, r"\$\.threshold"),
        ({"evidence": {"x": np.zeros(2)}}, "ndarray"),
        ({"evidence": {"\ud800": 1}}, "encoded"),
        ({"evidence": {"x": "y" * MAX_BYTES}}, "at most"),
    ],
)
def test_what_json_cannot_say_is_refused(
    make_verdict: MakeVerdict, changes: dict[str, Any], match: str
) -> None:
    """Tensors, lone surrogates, statistics that are not finite and sizes beyond Kafka's raise."""
    with pytest.raises(SchemaError, match=match):
        encode_verdict(make_verdict(**changes))


@pytest.mark.parametrize(
    ("path", "changes"),
    [
        ("$.id", {"id": ""}),
        ("$.activity", {"activity": "reopen"}),
        ("$.severity", {"severity": "fatal"}),
        ("$.reason", {"reason": None}),
        ("$.tail", {"tail": "lower"}),
        ("$.statistic", {"statistic": None}),
        ("$.queries", {"queries": -1}),
        ("$.first_time", {"first_time": 1e300}),
        ("$.partition", {"partition": 2**31}),
        ("$.offset", {"offset": 2**63}),
        ("$.evidence", {"evidence": []}),
        ("$.schema", {"schema": 2, "severity": 9}),
        ("$.account", {"account": ...}),
    ],
)
def test_faults_are_named_by_path(
    make_verdict: MakeVerdict, path: str, changes: dict[str, Any]
) -> None:
    """Each broken field is refused at its own path, a newer schema number before all."""
    fields = json.loads(encode_verdict(make_verdict())) | changes
    payload = json.dumps({name: value for name, value in fields.items() if value is not ...})
    with pytest.raises(SchemaError) as caught:
        decode_verdict(payload.encode())
    assert caught.value.path == path


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b" " * 2**21])
def test_malformed_payloads_are_refused(payload: bytes) -> None:
    """Bytes that are no verdict at all give the schema error."""
    with pytest.raises(SchemaError):
        decode_verdict(payload)


def test_unknown_fields_are_ignored(make_verdict: MakeVerdict) -> None:
    """A verdict with fields of a later minor version is read as if they were not there."""
    fields = json.loads(encode_verdict(make_verdict())) | {"region": "eu"}
    assert decode_verdict(json.dumps(fields).encode()) == make_verdict()


def test_ids_never_change() -> None:
    """The ids of known verdicts are the ones written down here: stored verdicts carry them."""
    assert verdict_id("p", "prada", "ada", "digits", 1_700_000_000_000_000, 119) == VERDICT_ID
    assert finding_id("p", "prada", "ada", "digits", 1_700_000_000_000_000, 119) == FINDING_ID


VERDICT_ID = "cf3049ec-188e-520f-8992-42462bdab6e1"
FINDING_ID = "c006d388-bdbc-56c5-a600-23256f26fa76"


parts_of_ids = st.tuples(keys, keys, keys, keys, st.integers(0, 3), st.integers(0, 3))


@given(st.lists(parts_of_ids, unique=True, max_size=20))
def test_ids_are_unique(parts: list[tuple[str, str, str, str, int, int]]) -> None:
    """Each part counts: profile, detector, account, model, first time, query and activity."""
    ids = [verdict_id(*part) for part in parts]
    ids += [verdict_id(*part, activity="close") for part in parts]
    ids += [finding_id(*part) for part in parts]
    assert len(set(ids)) == 3 * len(parts)


def test_parts_of_an_id_do_not_run_together() -> None:
    """What is split differently between account and model has another id."""
    assert verdict_id("p", "d", "ab", "c", 0, 1) != verdict_id("p", "d", "a", "bc", 0, 1)
    assert verdict_id("p", "d", 'a","b', "c", 0, 1) != verdict_id("p", "d", "a", 'b","c', 0, 1)
