"""What differs between two contents of a definition, in lines that a person can read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from coordinator.saga.content import CODE, read_document

LINES_MAX = 20
TEXT_MAX = 80

_NOTHING = object()


def differences(old: bytes, new: bytes) -> list[str]:
    """Say what was and what is, one line per difference; the last line counts what is left out.

    step process_payment: timeout was 60000 ms, is 30000 ms
    """
    before, after = read_document(old), read_document(new)
    lines = list(_of_steps(before.pop("steps", []), after.pop("steps", [])))
    lines += _of_values(before, after, "", ())
    if len(lines) > LINES_MAX:
        lines = [*lines[:LINES_MAX], f"and {len(lines) - LINES_MAX} more differences"]
    return lines


def _of_steps(before: list[Any], after: list[Any]) -> Iterator[str]:
    old, new = ({step["name"]: step for step in steps} for steps in (before, after))
    for name in (name for name in old if name not in new):
        yield f"step {name} is gone"
    for name in (name for name in new if name not in old):
        yield f"step {name} is new"
    kept_before, kept_after = [name for name in old if name in new], [name for name in new if name in old]
    if kept_before != kept_after:
        yield f"the order of the steps was {', '.join(kept_before)}, is {', '.join(kept_after)}"
    for name in kept_after:
        yield from _of_values(old[name], new[name], f"step {name}", ())


def _of_values(before: Any, after: Any, whose: str, path: tuple[str, ...]) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in (*before, *(key for key in after if key not in before)):
            yield from _of_values(before.get(key, _NOTHING), after.get(key, _NOTHING), whose, (*path, key))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (old, new) in enumerate(zip(before, after, strict=True), start=1):
            yield from _of_values(old, new, whose, (*path, str(number)))
    elif before != after or type(before) is not type(after):
        yield _line(before, after, whose, " ".join(path))


def _line(before: Any, after: Any, whose: str, what: str) -> str:
    if _is_code(before) and _is_code(after):
        return f"the code of {what} of {whose} has changed" if whose else f"the code of {what} has changed"
    start = f"{whose}: " if whose else ""
    if before is _NOTHING:
        return f"{start}{what} is new: {_shown(after)}"
    if after is _NOTHING:
        return f"{start}{what} is gone, was {_shown(before)}"
    return f"{start}{what} was {_shown(before)}, is {_shown(after)}"


def _is_code(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(CODE)


def _shown(value: Any) -> str:
    if _is_code(value):
        return "a function"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= TEXT_MAX else f"{text[: TEXT_MAX - 1]}…"
