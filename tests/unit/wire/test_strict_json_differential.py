"""Strict JSON: the fast road never says yes where the slow one says no, whatever comes."""

from __future__ import annotations

import json
import math
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordinator.wire.strict_json import Refused, decode_object, encode, judge_object

REPLY = encode(
    {
        "saga_id": "0190f6a4-3c3a-7d10-8a3b-2f1c9d0e4b57",
        "attempt": 1,
        "result": {"id": "pay_1", "cents": 12_999, "rate": 0.25, "ok": True, "tags": ["ä", None, {"k": -1}]},
    }
)


class _Pairs(list[tuple[str, Any]]):
    """An object as it was written, repeated keys and all."""


class _Reference:
    """Reads a value and collects every fault it has (none: it must be accepted); shares no code with ours."""

    def __init__(self, value: bytes) -> None:
        self.faults: set[str] = set()
        self.tree: Any = None
        try:
            raw = json.loads(
                value.decode("utf-8"),
                object_pairs_hook=self._pairs,
                parse_int=self._integer,
                parse_float=self._real,
                parse_constant=lambda _: self.faults.add("non_finite"),
            )
        except ValueError:
            self.faults.add("not_json" if value.strip(b" \t\r\n") else "empty")
        except RecursionError:
            self.faults.add("too_deep")
        else:
            if not isinstance(raw, _Pairs):
                self.faults.add("not_object")
            self.tree = self._build(raw, 1)

    def _pairs(self, found: list[tuple[str, Any]]) -> _Pairs:
        keys = [key for key, _ in found]
        if len(keys) != len(set(keys)):
            self.faults.add("duplicate_key")
        return _Pairs(found)

    def _integer(self, text: str) -> int:
        if len(text) > 4000 or not -(2**63) <= int(text) < 2**63:
            self.faults.add("number_range")
            return 0
        return int(text)

    def _real(self, text: str) -> float:
        if math.isinf(float(text)):
            self.faults.add("non_finite")
        return float(text)

    def _build(self, node: Any, level: int) -> Any:
        if isinstance(node, str):
            return self._text(node)
        if isinstance(node, list) and level > 32:
            self.faults.add("too_deep")
        if isinstance(node, _Pairs):
            return {self._text(key): self._build(child, level + 1) for key, child in node}
        if isinstance(node, list):
            return [self._build(child, level + 1) for child in node]
        return node

    def _text(self, text: str) -> str:
        if "\0" in text:
            self.faults.add("nul")
        if any(0xD800 <= ord(character) <= 0xDFFF for character in text):
            self.faults.add("bad_unicode")
        return text


def _assert_same_verdict(value: bytes) -> None:
    reference = _Reference(value)
    for decode in (decode_object, judge_object):
        reason = None
        try:
            seen = decode(value)
        except Refused as refused:
            reason = refused.reason
        if reason is None:
            assert not reference.faults, value
            assert repr(seen) == repr(reference.tree)
        else:
            assert reason in reference.faults, value


NASTY = [
    *(b"%c" % byte for byte in b'"\\{}[],:0123-+.eE \n\tnu/'),
    *(b"\x00", b"\x01", b"\x7f", b"\x80", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xc3\xa9"),
    *(b"\\u0000", b"\\u0061", b"\\ud800", b"\\ud83d\\ude00", b"\\\\", b'\\"', b"\\u"),
    *(b"NaN", b"-Infinity", b"1e999", b"-0", b"1E5", b"1.0", b"9223372036854775808", b"1" * 25),
    *(
        b'"id":1,',
        b'"attempt":2,',
        b'{"k":1,"k":2}',
        b"{}",
        b"[[[[[[[[",
        b"]]]]]]]]",
        b"null",
        b"true",
        b"/**/",
    ),
]


def test_no_small_change_of_a_reply_is_judged_wrongly() -> None:
    """At every place of a reply, every nasty token is inserted and put in place of what stands there."""
    for place in range(len(REPLY) + 1):
        for token in NASTY:
            _assert_same_verdict(REPLY[:place] + token + REPLY[place:])
            _assert_same_verdict(REPLY[:place] + token + REPLY[place + 1 :])


_INTEGERS = st.one_of(st.integers(-3, 300), st.integers(2**63 - 2, 2**63 + 1), st.integers(-(2**65), 2**65))
_FLOATS = st.floats(allow_nan=False, allow_infinity=False)
_TEXTS = st.text(st.one_of(st.characters(), st.sampled_from('\0"\\/\ud800\x7f\x1b')), max_size=8)
_KEYS = st.one_of(st.sampled_from(["a", "b", "saga_id", ""]), _TEXTS)
_SCALARS = st.one_of(st.none(), st.booleans(), _INTEGERS, _FLOATS, _TEXTS)
_SPELLINGS = st.sampled_from(["{}", "{:E}", "{:.20g}", "{:.1f}"])


@st.composite
def _documents(draw: st.DrawFn) -> bytes:
    """JSON written by a hand that repeats keys, wraps deeply, and escapes, spaces and spells as it likes."""
    space = draw(st.sampled_from(["", "", " ", "\n\t", "\r\n"]))
    escape = draw(st.booleans())
    slash = draw(st.booleans())
    spelling = draw(_SPELLINGS)

    def write(node: Any) -> str:
        if isinstance(node, _Pairs):
            inner = f",{space}".join(f"{write(key)}{space}:{space}{write(child)}" for key, child in node)
            return f"{{{space}{inner}{space}}}"
        if isinstance(node, list):
            return f"[{space}{f'{space},'.join(map(write, node))}{space}]"
        if isinstance(node, str):
            text = json.dumps(node, ensure_ascii=escape)
            return text.replace("/", "\\/") if slash else text
        return spelling.format(node) if type(node) is float else json.dumps(node)

    tree = draw(
        st.recursive(
            _SCALARS,
            lambda inner: st.one_of(
                st.lists(inner, max_size=4),
                st.lists(st.tuples(_KEYS, inner), max_size=4).map(_Pairs),
            ),
            max_leaves=12,
        )
    )
    for _ in range(draw(st.sampled_from([0, 0, 0, 3, 7, 29, 31, 33]))):
        tree = [tree] if draw(st.booleans()) else _Pairs([("w", tree)])
    if not isinstance(tree, _Pairs) and draw(st.booleans()):
        tree = _Pairs([("w", tree)])
    return write(tree).encode("utf-8", "surrogatepass")


@st.composite
def _mutants(draw: st.DrawFn) -> bytes:
    """A document, or our own encoding of it, with a few tokens inserted, bytes cut out or pieces repeated."""
    value = draw(_documents())
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(value)))
        end = draw(st.integers(start, min(len(value), start + 8)))
        piece = draw(st.one_of(st.sampled_from(NASTY), st.just(value[start:end] * 2), st.binary(max_size=3)))
        value = value[:start] + piece + value[end:]
    return value


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_documents())
def test_both_roads_and_the_reference_agree_on_documents(value: bytes) -> None:
    """Whatever the formatting, fast and slow accept exactly what has no fault, and read the same tree."""
    _assert_same_verdict(value)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_mutants())
def test_both_roads_and_the_reference_agree_on_mutants(value: bytes) -> None:
    """Broken documents are refused for a fault they have, and those still whole are read alike."""
    _assert_same_verdict(value)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_documents())
def test_what_was_read_is_written_and_read_again_unchanged(value: bytes) -> None:
    """What was decoded is encoded canonically: it reads as the same tree, and encodes as the same bytes."""
    try:
        tree = decode_object(value)
    except Refused:
        return
    canonical = encode(tree)
    assert repr(decode_object(canonical)) == repr(tree)
    assert encode(decode_object(canonical)) == canonical
