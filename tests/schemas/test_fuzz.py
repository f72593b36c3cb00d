"""A million broken payloads: each is either a sound event or a `SchemaError`, nothing else."""

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

import msgspec
import numpy as np

from gamekeeper.schemas.errors import SchemaError
from gamekeeper.schemas.event import QueryEvent, decode_event, encode_event
from gamekeeper.schemas.tensor import DTYPES, Tensor
from gamekeeper.schemas.verdict import Verdict, decode_verdict, encode_verdict

EVENTS = 1_000_000
VERDICTS = 100_000

# Heads of MessagePack values that promise more than follows, and the rarer types.
HEADS = [
    *(b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xc1"),
    *(b"\xdb\xff\xff\xff\xff", b"\xd9\xff", b"\xc0", b"\xc3", b"\xcb\x7f\xf8\0\0\0\0\0\0"),
    *(b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", b"\xd3\x80\0\0\0\0\0\0\0", b"\x80", b"\x90"),
    *(b"\xd4\xff\0", b"\xd8\x05" + b"x" * 16, b"\xa2\xff\xfe", b"\xa3\xed\xa0\x80"),
]
# Values that are wrong in most fields, and right in some.
VALUES: list[Any] = [
    *(None, True, 0, 1, -1, 2**31 - 1, 2**31, 2**63, 2**64 - 1, -(2**63), 0.5, 1e308),
    *(float("nan"), float("inf"), "", "x", "\0", "\U0010ffff", "a" * 300, b"", b"ab", [], {}),
    *([1], [0, 0], [1, 2, 3], ["a"], [-1, 2], [2**63, 2**63], [[[]]], "float32", "bool", "float16"),
    {"dtype": "uint8", "shape": [2, 1], "data": b"ab"},
    {"dtype": "float32", "shape": [2**32, 2**32], "data": b""},
    {"dtype": "float64", "shape": [1, 1], "data": b"\0" * 8},
]


def below(random: Random, end: int) -> int:
    """Draw from 0 to `end` - 1, quicker than `randrange`."""
    return int(random.random() * end)


def flip(random: Random, payload: bytes, _: Sequence[bytes]) -> bytes:
    """Flip one to four bits."""
    broken = bytearray(payload)
    for _flip in range(1 + below(random, 4)):
        broken[below(random, len(broken))] ^= 1 << below(random, 8)
    return bytes(broken)


def truncate(random: Random, payload: bytes, _: Sequence[bytes]) -> bytes:
    """Cut off the end, or the beginning."""
    at = below(random, len(payload))
    return payload[:at] if random.random() < 0.7 else payload[at:]


def splice(random: Random, payload: bytes, corpus: Sequence[bytes]) -> bytes:
    """Put the end of one payload behind the beginning of another."""
    other = corpus[below(random, len(corpus))]
    return payload[: below(random, len(payload))] + other[below(random, len(other)) :]


def insert(random: Random, payload: bytes, _: Sequence[bytes]) -> bytes:
    """Put a misleading head somewhere, over what is there or before it."""
    head = HEADS[below(random, len(HEADS))]
    at = below(random, len(payload))
    return payload[:at] + head + payload[at + below(random, 2) * len(head) :]


def noise(random: Random, _: bytes, __: Sequence[bytes]) -> bytes:
    """Random bytes, one time in two behind the head of a map."""
    return random.choice([b"", b"\x86"]) + random.randbytes(below(random, 200))


def nest(random: Random, payload: bytes, _: Sequence[bytes]) -> bytes:
    """Nest arrays or maps deeply, at the top or in a field that nobody knows."""
    depth = 1 << below(random, 14)
    layers = random.choice([b"\x91", b"\x81\xa1x", b"[", b'{"x":']) * depth
    return random.choice([b"", b"\x81\xa5extra", payload[:1], b'{"evidence":']) + layers


VARIANTS: list[dict[str, Any]] = [
    *({}, {"activity": "close"}, {"evidence": {}}, {"account": "zoë \U0001f600"})
]

Mutation = Callable[[Random, bytes, Sequence[bytes]], bytes]
# Deep nesting is slow to build; a share of 1/200 is some thousands of payloads.
MUTATIONS: list[Mutation] = [*[flip, truncate, splice, insert, noise] * 40, nest]


def replace_fields(random: Random, fields: dict[str, Any], values: Sequence[Any]) -> dict[str, Any]:
    """Replace one or two fields, at the top or in a tensor, by other values, or drop them."""
    changed = dict(fields)
    for _ in range(1 + below(random, 2)):
        name = random.choice(list(changed))
        value = values[below(random, len(values))]
        inner = changed[name]
        if isinstance(inner, dict) and inner and random.random() < 0.7:
            changed[name] = {**inner, random.choice(list(inner)): value}
        elif len(changed) > 1 and random.random() < 0.1:
            del changed[name]
        else:
            changed[name] = value
    return changed


def broken(
    random: Random, corpus: Sequence[bytes], coder: Any, values: Sequence[Any], count: int
) -> Iterator[bytes]:
    """Break payloads: two in three as bytes, the others in their fields by `coder`."""
    plain = [coder.decode(payload) for payload in corpus]
    for number in range(count):
        if number % 3:
            mutation = MUTATIONS[below(random, len(MUTATIONS))]
            yield mutation(random, corpus[below(random, len(corpus))], corpus)
        else:
            yield coder.encode(replace_fields(random, random.choice(plain), values))


def event_corpus(make_event: Callable[..., QueryEvent]) -> list[QueryEvent]:
    """Make valid events of all dtypes, with and without their optional parts."""
    units = Tensor.from_array(np.full((2, 3), 1 / 3, np.float32))
    features = Tensor.from_array(np.arange(4.0).reshape(2, 2))
    corpus = [
        make_event(rows=2, inputs=Tensor.from_array(np.ones((2, 2, 2), name))) for name in DTYPES
    ]
    corpus += [
        make_event(rows=2, probabilities=units),
        make_event(rows=2, embedding=features, sampling=0.25),
        make_event(rows=2, probabilities=units, embedding=features, model_version="7"),
        make_event(rows=40),
    ]
    return corpus


def assert_sound(event: QueryEvent) -> None:
    """Check by hand the promises on which readers of events build."""
    inputs = event.inputs.array()
    assert len(inputs) == len(event.labels) == len(event) > 0
    assert event.id
    assert event.account
    assert event.schema == 1
    assert 0 <= min(event.labels) <= max(event.labels) < 2**31
    assert inputs.dtype.kind != "f" or np.isfinite(inputs).all()
    for tensor in (event.probabilities, event.embedding):
        if tensor is not None:
            assert tensor.array().shape[0] == len(event)
            assert np.isfinite(tensor.array()).all()


def test_a_million_broken_events(make_event: Callable[..., QueryEvent]) -> None:
    """Mutated, spliced, random and nested payloads never raise anything but the schema error."""
    random = Random(20240229)
    corpus = [encode_event(event) for event in event_corpus(make_event)]
    accepted = 0
    refused: Counter[str] = Counter()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for payload in broken(random, corpus, msgspec.msgpack, VALUES, EVENTS):
            try:
                event = decode_event(payload)
            except SchemaError as error:
                refused[error.path] += 1
            else:
                accepted += 1
                if accepted % 8 == 0:
                    assert_sound(event)
    assert accepted + refused.total() == EVENTS
    assert accepted > EVENTS // 20
    assert refused.total() > EVENTS // 2
    fields = set(QueryEvent.__struct_fields__)
    assert {f"$.{name}" for name in fields} <= set(refused)
    assert {"$", "$.inputs.dtype", "$.inputs.data", "$.probabilities.shape[0]"} <= set(refused)


def test_a_hundred_thousand_broken_verdicts(make_verdict: Callable[..., Verdict]) -> None:
    """The same for verdicts, which are JSON."""
    random = Random(1)
    corpus = [encode_verdict(make_verdict(**changes)) for changes in VARIANTS]
    values = [value for value in VALUES if not isinstance(value, bytes | dict)]
    accepted = 0
    refused: Counter[str] = Counter()
    for payload in broken(random, corpus, msgspec.json, values, VERDICTS):
        try:
            verdict = decode_verdict(payload)
        except SchemaError as error:
            refused[error.path] += 1
        else:
            accepted += 1
            assert decode_verdict(encode_verdict(verdict)) == verdict
    assert accepted > VERDICTS // 100
    assert refused.total() > VERDICTS // 2
    assert {"$", "$.schema", "$.activity", "$.statistic", "$.offset"} <= set(refused)
