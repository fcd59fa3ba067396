"""Strict JSON: what is refused and why, and what is read although it is spelled unlike ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from coordinator.wire.strict_json import (
    MAX_DEPTH,
    MAX_INTEGER,
    MAX_VALUE_BYTES,
    MIN_INTEGER,
    Refused,
    decode_object,
    encode,
    judge_object,
)

SAGA_ID = "0190f6a4-3c3a-7d10-8a3b-2f1c9d0e4b57"
REPLY = encode(
    {
        "saga_id": SAGA_ID,
        "attempt": 1,
        "result": {"id": "pay_1", "cents": 12_999, "rate": 0.25, "ok": True, "tags": ["ä", None, {"k": -1}]},
    }
)

REFUSALS = [
    ("K1 tombstone", None, "empty"),
    ("K2 zero bytes", b"", "empty"),
    ("K2 only spaces", b" \r\n\t ", "empty"),
    ("K3 invalid UTF-8", b'{"a":"\xff"}', "not_json"),
    ("K3 random bytes", b"\x93\x01\xfe\xa0", "not_json"),
    ("K3 surrogate in raw UTF-8", b'{"a":"\xed\xa0\x80"}', "not_json"),
    ("K3 overlong UTF-8", b'{"a":"\xc0\x80"}', "not_json"),
    ("K4 truncated", REPLY[:-5], "not_json"),
    ("K4 trailing comma", b'{"a":1,}', "not_json"),
    ("K4 two documents", b'{"a":1}{"a":1}', "not_json"),
    ("K4 trailing NUL byte", b'{"a":1}\x00', "not_json"),
    ("K4 raw control character", b'{"a":"\x01"}', "not_json"),
    ("K4 single quotes", b"{'a':1}", "not_json"),
    ("K4 leading zero", b'{"a":01}', "not_json"),
    ("K5 array", b"[]", "not_object"),
    ("K5 string", b'"x"', "not_object"),
    ("K5 number", b"7", "not_object"),
    ("K5 null", b"null", "not_object"),
    ("K6 UTF-8 with a byte order mark", b"\xef\xbb\xbf{}", "not_json"),
    ("K6 UTF-16", '{"a":1}'.encode("utf-16"), "not_json"),
    ("K6 UTF-16 without a mark", '{"a":1}'.encode("utf-16-le"), "not_json"),
    ("K6 UTF-32", '{"a":1}'.encode("utf-32"), "not_json"),
    ("K7 schema registry", b"\x00\x00\x00\x00\x2a\x06abc", "not_json"),
    ("K8 duplicate key", b'{"message_id":1,"message_id":1}', "duplicate_key"),
    ("K8 duplicate key, deep", b'{"a":[{"b":{"c":1,"d":2,"c":3}}]}', "duplicate_key"),
    ("K8 duplicate key, spelled differently", b'{"a":1,"\\u0061":2}', "duplicate_key"),
    ("K9 NaN", b'{"a":NaN}', "non_finite"),
    ("K9 Infinity", b'{"a":[Infinity]}', "non_finite"),
    ("K9 -Infinity", b'{"a":-Infinity}', "non_finite"),
    ("K9 1e999", b'{"a":{"b":1e999}}', "non_finite"),
    ("K9 a float of 5,000 digits", b'{"a":' + b"9" * 5000 + b".0}", "non_finite"),
    ("K10 NUL in a string", b'{"a":"x\\u0000"}', "nul"),
    ("K10 NUL in a key", b'{"\\u0000":1}', "nul"),
    ("K10 NUL, deep", b'{"a":[[{"b":"\\u0000"}]]}', "nul"),
    ("K11 lone high surrogate", b'{"a":"\\ud800"}', "bad_unicode"),
    ("K11 lone low surrogate in a key", b'{"\\uDFFF":1}', "bad_unicode"),
    ("K11 surrogates in the wrong order", b'{"a":"\\udc00\\ud800"}', "bad_unicode"),
    ("K12 integer of 5,000 digits", b'{"a":' + b"1" * 5000 + b"}", "number_range"),
    ("K12 integer of 400 digits, deep", b'{"a":[{"b":-' + b"1" * 400 + b"}]}", "number_range"),
    ("K12 one above", b'{"a":%d}' % (MAX_INTEGER + 1), "number_range"),
    ("K12 one below", b'{"a":%d}' % (MIN_INTEGER - 1), "number_range"),
    ("K12 unsigned 64 bits", b'{"a":[%d]}' % (2**64 - 1), "number_range"),
    ("K12 beyond the proven levels", b'{"a":' + b"[" * 9 + b"%d" % 2**63 + b"]" * 9 + b"}", "number_range"),
    ("K13 one level too deep", b'{"a":' * MAX_DEPTH + b"{}" + b"}" * MAX_DEPTH, "too_deep"),
    ("K13 depth 1,000", b'{"a":' * 1000 + b"1" + b"}" * 1000, "too_deep"),
    ("K13 depth 100,000", b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "too_deep"),
    ("K14 one byte too many", b'{"a":"' + b"x" * (MAX_VALUE_BYTES - 7) + b'"}', "too_large"),
    ("K14 3 MB", b'{"a":"' + b"x" * 3_000_000 + b'"}', "too_large"),
]

ACCEPTED: list[tuple[str, bytes, dict[str, Any]]] = [
    ("our own bytes", b'{"a":1,"b":[true,null,"x"]}', {"a": 1, "b": [True, None, "x"]}),
    ("empty object", b"{}", {}),
    ("white space", b' {\r\n\t"a" : [ 1 , 2 ] }\n', {"a": [1, 2]}),
    ("all short escapes", b'{"a":"\\b\\f\\n\\r\\t\\/\\"\\\\"}', {"a": '\b\f\n\r\t/"\\'}),
    ("an escaped backslash before u0000", b'{"a":"\\\\u0000"}', {"a": "\\u0000"}),
    ("an escaped letter", b'{"a":"K\\u00f6ln"}', {"a": "Köln"}),
    ("a surrogate pair", b'{"a":"\\ud83d\\ude00"}', {"a": "\N{GRINNING FACE}"}),
    ("a control character by number", b'{"a":"\\u001b"}', {"a": "\x1b"}),
    ("greatest integer", b'{"a":9223372036854775807}', {"a": MAX_INTEGER}),
    ("least integer", b'{"a":-9223372036854775808}', {"a": MIN_INTEGER}),
    ("minus zero, an integer", b'{"a":-0}', {"a": 0}),
    ("exponents", b'{"a":1E5,"b":1e-2,"c":1.50}', {"a": 100_000.0, "b": 0.01, "c": 1.5}),
    ("a float that rounds", b'{"a":0.1000000000000000055}', {"a": 0.1}),
    ("a float that underflows", b'{"a":1e-999}', {"a": 0.0}),
    ("a great float without a point is not an integer", b'{"a":1e300}', {"a": 1e300}),
    ("the same key in two objects", b'{"a":{"a":1},"b":{"a":1}}', {"a": {"a": 1}, "b": {"a": 1}}),
    ("many siblings", b'{"a":[' + b",".join([b"{}"] * 100) + b"]}", {"a": [{}] * 100}),
    ("an empty key", b'{"":1}', {"": 1}),
]


@pytest.mark.parametrize("decode", [decode_object, judge_object])
@pytest.mark.parametrize(("value", "reason"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS])
def test_what_cannot_be_trusted_is_refused_with_its_reason(
    value: bytes | None, reason: str, decode: Callable[[bytes | None], Any]
) -> None:
    """Every bad input of the catalogue is refused for the reason it names, on both roads."""
    with pytest.raises(Refused) as refused:
        decode(value)
    assert refused.value.reason == reason
    assert refused.value.detail


@pytest.mark.parametrize("decode", [decode_object, judge_object])
@pytest.mark.parametrize(("value", "tree"), [row[1:] for row in ACCEPTED], ids=[row[0] for row in ACCEPTED])
def test_what_is_strict_json_is_read_whatever_its_spelling(
    value: bytes, tree: dict[str, Any], decode: Callable[[bytes | None], Any]
) -> None:
    """White space, escapes and number spellings are free; the tree is the same, types included."""
    assert repr(decode(value)) == repr(tree)


def test_the_schema_registry_byte_is_named() -> None:
    """Who sends Avro reads in the detail that the magic byte gave it away, and which schema id follows."""
    with pytest.raises(Refused, match=r"magic byte of a schema registry.* schema 42"):
        decode_object(b"\x00\x00\x00\x00\x2a\x06abc")


def test_the_limits_themselves_are_allowed() -> None:
    """A value of exactly the greatest depth and one of exactly the greatest size are read."""
    inner = MAX_DEPTH - 1
    deepest = b'{"a":' * inner + b"{}" + b"}" * inner
    largest = b'{"a":"' + b"x" * (MAX_VALUE_BYTES - 8) + b'"}'
    assert len(largest) == MAX_VALUE_BYTES
    assert encode(decode_object(deepest)) == deepest
    assert encode(decode_object(largest)) == largest


def test_a_detail_never_carries_control_characters() -> None:
    """What a refusal quotes of a stranger's bytes cannot forge log lines or steer a terminal."""
    with pytest.raises(Refused) as refused:
        decode_object(b'{"\\u001b[31m\\r\\n":1,"\\u001b[31m\\r\\n":2}')
    assert refused.value.reason == "duplicate_key"
    assert str(refused.value).isprintable()
    assert Refused("schema", "a\r\nb\x1b", path="\x00").detail == "a\\r\\nb\\x1b"
