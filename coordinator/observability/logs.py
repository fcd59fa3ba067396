"""Structured logs: every line on standard error is one JSON object, whoever wrote it.

That holds for what libraries log, for warnings, and for exceptions that nobody has caught. Values are escaped, so no
text from outside can begin a line of its own. What is called like a secret is never shown.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from collections.abc import Mapping
from functools import lru_cache
from types import TracebackType
from typing import Any, Final

import msgspec
import structlog

HIDDEN: Final = "***"
DEPTH_MAX: Final = 6

_SECRET = re.compile(
    r"pass(word|wd|phrase)?|pwd|secrets?|(api_?|private_?)key|credentials?|authorization|bearer|jwt|cookies?"
    r"|(\w+_)?(password|secret|token|authorization|credential|cookie)s?",
    re.IGNORECASE,
)
# A URL's user and password may stand in any text, an error's above all.
_LOGIN = re.compile(r"(?<=://)[^/@\s:]*:[^/@\s]*(?=@)")
# Values in which nothing can be hidden; asked first, because a busy engine writes a line per transition.
_PLAIN = frozenset({int, float, bool, type(None)})


def configure(level: str) -> None:
    """Set up structlog, the standard library's logging and the hooks for what nobody catches; once per process."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer(write)],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(shared))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.captureWarnings(True)
    # The client logs every retry of an outage; the watchdog and our own lines say what matters.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread


def redact(_: Any, __: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Hide what is called like a secret, at any depth, and the login of every URL."""
    for name, value in line.items():
        if is_secret(name):
            line[name] = HIDDEN
        elif isinstance(value, str):
            if "://" in value:
                line[name] = _LOGIN.sub(HIDDEN, value)
        elif type(value) not in _PLAIN and isinstance(value, Mapping | list | tuple):
            line[name] = _shown(value, DEPTH_MAX)
    return line


def write(line: structlog.typing.EventDict, **options: Any) -> str:
    """Write a line as JSON in ASCII; values that are no JSON are shown as `options` say."""
    try:
        text = _ENCODER.encode(line).decode()
    except (TypeError, ValueError):  # a stranger's value, or text that is not Unicode
        return json.dumps(line, **options)
    return text if text.isascii() else json.dumps(line, **options)


_ENCODER = msgspec.json.Encoder()


@lru_cache(maxsize=4096)
def is_secret(name: str) -> bool:
    """Whether what has this name is a secret."""
    return _SECRET.fullmatch(name.replace("-", "_")) is not None


def _shown(value: Any, depth: int) -> Any:
    if depth == 0:
        return HIDDEN
    if isinstance(value, str):
        return _LOGIN.sub(HIDDEN, value)
    if isinstance(value, Mapping):
        return {
            name: HIDDEN if isinstance(name, str) and is_secret(name) else _shown(inner, depth - 1)
            for name, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [_shown(inner, depth - 1) for inner in value]
    return value


def _formatter(shared: list[structlog.typing.Processor]) -> structlog.stdlib.ProcessorFormatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, structlog.processors.JSONRenderer()],
    )


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    structlog.get_logger().critical("uncaught", exc_info=(kind, error, trace), alert=True)


def _uncaught_in_thread(arguments: threading.ExceptHookArgs) -> None:
    if arguments.exc_value is not None:
        _uncaught(arguments.exc_type, arguments.exc_value, arguments.exc_traceback)
