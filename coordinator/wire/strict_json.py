"""JSON from strangers: read strictly, at the price of a lax reader.

Two roads lead to the same verdict.

- The **proof**: decode with msgspec, encode again, compare with what came in. Bytes that equal the encoding
  of a tree *are* that tree: no key can have come twice, no number can have been rounded, nothing else can
  hide in them. The types given to msgspec keep integers within 64 bits and bound the depth; what is left to
  ask is whether an escape smuggles in a NUL, and one look for a backslash answers that.
- The **judge**: the standard library with a hook for everything it is lax about. It is slow, it decides
  whatever the proof does not settle (other spellings, deep trees, all that is wrong), and names the reason.

The proof only ever says yes. So it cannot be laxer than the judge without a test noticing: both are played
against each other with generated and mutated JSON.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import msgspec

from coordinator.errors import SagaError

Reason = Literal[
    "empty",
    "not_json",
    "not_object",
    "duplicate_key",
    "non_finite",
    "nul",
    "bad_unicode",
    "number_range",
    "too_deep",
    "too_large",
    "codec",
    "schema",
    "version",
    "version_not_ready",
    "unknown_saga",
    "not_owner",
]

MAX_VALUE_BYTES = 256 * 1024
MAX_DEPTH = 32
MIN_INTEGER = -(2**63)
MAX_INTEGER = 2**63 - 1
BACKSLASH = 0x5C
JSON_OBJECT_TITLE = "JSON object"

_PROVEN_LEVELS = 6  # msgspec expands the type at every level, so each one doubles its table
_LONGEST_INTEGER = len(str(MIN_INTEGER))
_MAX_DETAIL = 300


class Refused(SagaError):
    """A message not to be acted on: `reason` for machines, `detail` and the field's `path` for people."""

    def __init__(self, reason: Reason, detail: str = "", *, path: str = "") -> None:
        self.reason: Reason = reason
        self.detail = _printable(detail[:_MAX_DETAIL])
        self.path = _printable(path[:_MAX_DETAIL])
        place = f" at {self.path}" if path else ""
        super().__init__(f"{reason}{place}: {self.detail}" if detail else f"{reason}{place}")


def _printable(text: str) -> str:
    """The text with control characters escaped: it goes to logs and terminals, and quotes a stranger."""
    return text if text.isprintable() else text.encode("unicode_escape").decode()


if TYPE_CHECKING:
    JsonObject = dict[str, Any]
else:

    def _bounded_json(levels: int) -> Any:
        scalar = None | bool | Annotated[int, msgspec.Meta(ge=MIN_INTEGER, le=MAX_INTEGER)] | float | str
        node = scalar
        for _ in range(levels):
            node = scalar | list[node] | dict[str, node]
        return node

    JsonObject = Annotated[dict[str, _bounded_json(_PROVEN_LEVELS)], msgspec.Meta(title=JSON_OBJECT_TITLE)]

ENCODER = msgspec.json.Encoder()
_decode_bounded = msgspec.json.Decoder(JsonObject).decode
UNDECODABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def encode(obj: Any) -> bytes:
    """Compact UTF-8 JSON of a message struct or of a tree that was decoded here (floats must be finite)."""
    return ENCODER.encode(obj)


def decode_object(value: bytes | None, *, max_bytes: int = MAX_VALUE_BYTES) -> dict[str, Any]:
    """The JSON object in `value`; raises `Refused` for anything else.

    Refused is also what two readers could see differently, or a store could not keep: duplicate keys, NaN,
    NUL, lone surrogates, integers beyond 64 bits, more than 32 levels.
    """
    if value is not None and len(value) <= max_bytes:
        proven = _prove(value)
        if proven is not None:
            return proven
    return judge_object(value, max_bytes=max_bytes)


def hides_nothing(value: bytes) -> bool:
    """Whether `value` has no escape by number: one can spell NUL, which the proof by encoding cannot see."""
    return BACKSLASH not in value or b"\\u" not in value  # one byte, as a number, is found fastest


def _prove(value: bytes) -> dict[str, Any] | None:
    """The object if `value` is beyond doubt, None if the judge must look."""
    try:
        tree: dict[str, Any] = _decode_bounded(value)
    except UNDECODABLE:
        return None
    if not hides_nothing(value):
        return None
    canonical = ENCODER.encode(tree)
    if canonical == value or canonical == msgspec.json.format(value, indent=-1):
        return tree
    return None


def judge_object(value: bytes | None, *, max_bytes: int = MAX_VALUE_BYTES) -> dict[str, Any]:
    """The slow road of `decode_object`: the same verdict on every input, always with its reason."""
    text = _text(value, max_bytes)
    try:
        tree = json.loads(
            text,
            object_pairs_hook=_unique_keys,
            parse_constant=_no_constant,
            parse_float=_finite_float,
            parse_int=_bounded_integer,
        )
    except json.JSONDecodeError as error:
        raise Refused("not_json", f"{error.msg} at character {error.pos}") from None
    except RecursionError:
        raise Refused("too_deep", f"more than {MAX_DEPTH} levels") from None
    _inspect(tree, 1)
    if type(tree) is not dict:
        raise Refused("not_object", f"a JSON {_json_type(tree)}, not an object")
    return tree


def _text(value: bytes | None, max_bytes: int) -> str:
    if value is None:
        raise Refused("empty", "a null value (tombstone)")
    if len(value) > max_bytes:
        raise Refused("too_large", f"{len(value)} bytes; the limit is {max_bytes}")
    if not value.strip(b" \t\r\n"):
        raise Refused("empty", f"{len(value)} bytes, all white space" if value else "zero bytes")
    if value[0] == 0:
        schema_id = int.from_bytes(value[1:5], "big")
        raise Refused(
            "not_json",
            f"the first byte is 0, the magic byte of a schema registry (Avro, Protobuf), schema {schema_id}",
        )
    if value.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        raise Refused("not_json", "a byte order mark; plain UTF-8 is wanted")
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise Refused("not_json", f"not UTF-8: {error.reason} at byte {error.start}") from None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise Refused("duplicate_key", f"the key {key[:100]!a} comes twice")
            seen.add(key)
    return unique


def _no_constant(word: str) -> NoReturn:
    raise Refused("non_finite", f"{word} is not JSON")


def _finite_float(text: str) -> float:
    number = float(text)
    if number - number != 0.0:  # infinity, which is where a float literal out of range ends
        raise Refused("non_finite", f"{text[:40]} is beyond a 64-bit float")
    return number


def _bounded_integer(text: str) -> int:
    # the length first: Python refuses to read 5,000 digits, and below that it takes quadratic time
    if len(text) > _LONGEST_INTEGER or not MIN_INTEGER <= (number := int(text)) <= MAX_INTEGER:
        raise Refused("number_range", f"an integer of {len(text)} characters, beyond 64 bits")
    return number


def _inspect(node: Any, depth: int) -> None:
    """Refuse strings that cannot be stored, and trees that are too deep, anywhere below `node`."""
    if isinstance(node, str):
        _inspect_string(node)
    elif isinstance(node, (dict, list)):
        if depth > MAX_DEPTH:
            raise Refused("too_deep", f"more than {MAX_DEPTH} levels")
        if isinstance(node, dict):
            for key in node:
                _inspect_string(key)
        for child in node.values() if isinstance(node, dict) else node:
            _inspect(child, depth + 1)


def _inspect_string(text: str) -> None:
    if "\0" in text:
        raise Refused("nul", "a string holds the character U+0000")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Refused("bad_unicode", f"a lone surrogate U+{ord(text[error.start]):04X}") from None


def _json_type(tree: Any) -> str:
    names = {list: "array", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(tree), "number")
