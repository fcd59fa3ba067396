"""The log of a process: one JSON object per line whoever wrote it, and no secrets."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from coordinator.observability.logs import HIDDEN, is_secret, redact

SPEAKS = r"""
import asyncio, logging, threading, warnings
import structlog
from coordinator.observability import logs

logs.configure("info")
log = structlog.get_logger()
log.info("plain", number=1, text="a\nb\x1b[31m\u2028\ud800\x00")
log.info("strange", value=object(), raw=b"\xff", nested={"password": "p1", "list": [{"token": "p2"}, {"ok": 1}]})
log.info("secrets", password="p3", Authorization="Bearer p4", api_key="p5", url="postgresql://ann:p6@db/saga")
log.debug("not shown")
try:
    raise ValueError("line one\nline two postgresql://ann:p7@db/saga")
except ValueError:
    log.exception("failed")
    logging.getLogger("library").exception("a library\nsays %s", "much")
logging.getLogger("library").warning("a \"quoted\" word")
logging.getLogger("library").info("not shown")
warnings.warn("old\nthing")
thread = threading.Thread(target=lambda: 1 / 0)
thread.start()
thread.join()

async def forgotten():
    asyncio.create_task(broken())
    await asyncio.sleep(0.01)

async def broken():
    raise KeyError("in a task")

asyncio.run(forgotten())
raise RuntimeError("at the end\nof all")
"""


@pytest.fixture(scope="module")
def lines() -> list[dict[str, Any]]:
    """Give what a process has written that does everything wrong that it can; each line must be an object."""
    done = subprocess.run([sys.executable, "-c", SPEAKS], capture_output=True, check=False)
    assert done.returncode == 1
    text = done.stderr.decode("ascii")
    assert "not shown" not in text
    assert not [secret for secret in ("p1", "p2", "p3", "p4", "p5", "p6", "p7") if f"{secret}" in text]
    return [json.loads(line) for line in text.splitlines()]


def test_every_line_is_an_object_with_level_and_time(lines: list[dict[str, Any]]) -> None:
    """Control characters, tracebacks, libraries, warnings, threads, tasks, the last exception: one line each."""
    assert [line["event"] for line in lines[:3]] == ["plain", "strange", "secrets"]
    assert len(lines) == 10
    assert all({"event", "level", "timestamp"} <= line.keys() for line in lines)
    assert lines[0]["text"].startswith("a\nb")


def test_tracebacks_are_in_their_line(lines: list[dict[str, Any]]) -> None:
    """An exception, caught or not, stands in the line that tells of it."""
    told = [line for line in lines if "exception" in line]
    assert [line["exception"].splitlines()[-1].split(":")[0] for line in told] == [
        "line two postgresql",
        "line two postgresql",
        "ZeroDivisionError",
        "KeyError",
        "of all",
    ]
    assert [line.get("alert") for line in told] == [None, None, True, None, True]


def test_libraries_are_named(lines: list[dict[str, Any]]) -> None:
    """A line of a library says whose it is."""
    assert [line["logger"] for line in lines if "logger" in line] == ["library", "library", "py.warnings", "asyncio"]


SECRET = (
    *("password", "PASSWORD", "db_password", "secret", "client_secret", "token", "access_token", "refresh-token"),
    *("Authorization", "api_key", "apikey", "private-key", "cookie", "set-cookie", "credentials", "jwt", "passphrase"),
)


@pytest.mark.parametrize("name", SECRET)
def test_what_is_called_like_a_secret_is_one(name: str) -> None:
    """Names of secrets in any spelling are hidden."""
    assert is_secret(name)
    assert redact(None, "", {"event": "x", name: "s3cr3t"}) == {"event": "x", name: HIDDEN}


@pytest.mark.parametrize(
    "name", ["key", "business_key", "saga_id", "tokens_left", "step_name", "author", "compass", "keyword", "event"]
)
def test_what_only_sounds_like_one_is_shown(name: str) -> None:
    """Our own words are not taken for secrets."""
    assert not is_secret(name)
