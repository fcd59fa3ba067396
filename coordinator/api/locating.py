"""Where in a body the thing stands that the strict reader refused: for people, so only for bodies that are refused.

The strict reader says what is wrong, not where. Here the body is read once more, leniently, with a marker in the
place of each offence, and the first marker's JSON pointer is the answer.
"""

from __future__ import annotations

import json
from typing import Any

from coordinator.wire.strict_json import MAX_DEPTH, MAX_INTEGER, MIN_INTEGER, Reason

_LONGEST_INTEGER = len(str(MIN_INTEGER))


class _Offence:
    def __init__(self, reason: Reason, key: str = "") -> None:
        self.reason = reason
        self.key = key


class _Repeating(dict[str, Any]):
    """An object in which a key comes twice."""

    repeated: str


def locate(body: bytes, reason: Reason) -> str:
    """The JSON pointer (RFC 6901) of the first offence of this kind; "" (the whole body) where it has no place."""
    try:
        tree = json.loads(
            body,
            object_pairs_hook=_object,
            parse_constant=lambda _: _Offence("non_finite"),
            parse_float=_float,
            parse_int=_integer,
        )
    except (ValueError, RecursionError):
        return ""
    path = _find(tree, reason, 1)
    return "" if path is None else "".join(f"/{escape(part)}" for part in path)


def escape(part: str | int) -> str:
    """One step of a JSON pointer."""
    return str(part).replace("~", "~0").replace("/", "~1")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) == len(pairs):
        return unique
    seen: set[str] = set()
    marked = _Repeating(unique)
    marked.repeated = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
    return marked


def _float(text: str) -> Any:
    number = float(text)
    return number if number - number == 0.0 else _Offence("non_finite")


def _integer(text: str) -> Any:
    if len(text) > _LONGEST_INTEGER or not MIN_INTEGER <= (number := int(text)) <= MAX_INTEGER:
        return _Offence("number_range")
    return number


def _find(node: Any, reason: Reason, depth: int) -> list[str | int] | None:
    if isinstance(node, _Offence):
        return [] if node.reason == reason else None
    if isinstance(node, str):
        return [] if _is_bad_text(node, reason) else None
    if not isinstance(node, dict | list):
        return None
    if depth > MAX_DEPTH:
        return [] if reason == "too_deep" else None
    if isinstance(node, dict):
        if isinstance(node, _Repeating) and reason == "duplicate_key":
            return [node.repeated]
        if any(_is_bad_text(key, reason) for key in node):
            return []  # such a key cannot be written; its object stands for it
    for part, child in node.items() if isinstance(node, dict) else enumerate(node):
        path = _find(child, reason, depth + 1)
        if path is not None:
            return [part, *path]
    return None


def _is_bad_text(text: str, reason: Reason) -> bool:
    if reason == "nul":
        return "\0" in text
    if reason != "bad_unicode":
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
