"""How lengths of time and functions of a definition are said in a few words."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import timedelta
from typing import Any

_UNITS = (
    ("d", timedelta(days=1)),
    ("h", timedelta(hours=1)),
    ("min", timedelta(minutes=1)),
    ("s", timedelta(seconds=1)),
    ("ms", timedelta(milliseconds=1)),
)


def duration(length: timedelta) -> str:
    """Say a length of time in the largest units, for example "1 h 30 min"."""
    said = []
    for name, unit in _UNITS:
        count, length = divmod(length, unit)
        if count:
            said.append(f"{count} {name}")
    return " ".join(said) or "0 ms"


def function(given: Callable[..., Any]) -> str:
    """Say what a function of a definition is for: the first line of its docstring, else its name."""
    first = (inspect.getdoc(given) or "").partition("\n")[0].rstrip(".") if inspect.isroutine(given) else ""
    name: str = getattr(given, "__name__", type(given).__name__)
    return first or ("a function without a name" if name == "<lambda>" else name)
