"""`make demo KEEP=1`, run and used as a person does it, on the real Kafka and Postgres of the session."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator

import asyncpg
import psutil
import pytest

from deploy.local.places import PROJECT, RunDirectory
from deploy.local.processes import Child, Processes
from deploy.local.stack import LocalStack
from deploy.local.waiting import run_async
from tests.needs import need_real_kafka

STAYS = "everything stays up; Ctrl-C ends it"
DEMO_S, MOVE_S, END_S = 200.0, 30.0, 30.0
PROCESSES = 10  # the coordinator and nine participants

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def demo(stack: LocalStack) -> Iterator[Child]:
    """Give a demo that has played its stories and stays up; the tests below follow one another."""
    need_real_kafka(stack)
    run = RunDirectory()
    with Processes(run) as processes:
        environment = {**stack.environment(), "ORDERS": "6", "KEEP": "1", "STORY": "all"}
        child = processes.python("demo", "-m", "deploy.demo", environment=environment)
        child.wait_for_line(r"\$VERSION\}", timeout_s=DEMO_S)
        yield child
    run.close()


def test_every_story_agrees(demo: Child) -> None:
    """Each story ends as it was told, in the coordinator's view and in the participants' own tables."""
    output = demo.output()
    assert "all 31 stories agree" in output
    for story in (
        "good order",
        "silent shipping",
        "refund stuck",
        "good transfer",
        "mailbox full",
        "good trip",
        "too dear",
        "event missed",
        "said three times",
        "payment away",
    ):
        assert f"\n{story}: agrees" in output
    assert "happened  suspended, retried, failed; undone in this order: process_payment, reserve_inventory" in output
    assert "happened  suspended, replayed, completed; nothing undone" in output
    assert "happened  waited, answered, failed; undone in this order: rent_car, book_seats, book_room" in output
    assert re.search(r"agrees  looked at all the money \d+ times, .*: always the same sum", output)
    assert "kafka: external, " in output


def test_the_printed_lines_work(demo: Child) -> None:
    """What KEEP=1 prints can be typed: start an order, see it, suspend one, list it, repair and retry it."""
    if shutil.which("curl") is None:
        pytest.skip("needs curl, which the printed lines use")
    lines = demo.output().split(STAYS, 1)[1].split("# start an order", 1)[1].splitlines()[1:]
    listing = next(place for place, line in enumerate(lines) if line.endswith("status=suspended'"))
    look = next(line for line in lines if line.endswith("business_key=my-order-1'"))

    _type(lines[:listing])
    _wait_for(look, "completed")
    _wait_for(lines[listing], "suspended")
    answer = json.loads(_type([line for line in lines if line.startswith("export")] + lines[listing + 1 :])[-1])
    assert answer["business_key"] == "my-order-2"
    _wait_for(look.replace("my-order-1", "my-order-2"), "failed")


def test_control_c_leaves_nothing_behind(demo: Child, stack: LocalStack) -> None:
    """An interrupt ends a demo that stays up with its verdict as exit code, and removes what it made."""
    database = re.search(r"database: (saga_demo_\w+)", demo.output())
    assert database is not None
    children = psutil.Process(demo.pid).children(recursive=True)
    assert len(children) == PROCESSES
    assert demo.stop(signal.SIGINT, grace_s=END_S) == 0
    gone, alive = psutil.wait_procs(children, timeout=5)
    assert not alive
    assert len(gone) == PROCESSES
    assert not run_async(_exists(stack.postgres.admin_url, database[1]))


def _type(lines: list[str]) -> list[str]:
    script = "set -e\n" + "\n".join(lines)
    done = subprocess.run(["bash", "-c", script], cwd=PROJECT, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.replace("}{", "}\n{").splitlines()


def _wait_for(listing: str, status: str) -> None:
    deadline = time.monotonic() + MOVE_S
    while True:
        sagas = json.loads(_type([listing])[-1])["sagas"]
        if [saga["status"] for saga in sagas] == [status]:
            return
        assert time.monotonic() < deadline, f"no saga is {status}: {sagas}"


async def _exists(admin_url: str, database: str) -> bool:
    connection = await asyncpg.connect(admin_url)
    try:
        return bool(await connection.fetchval("select count(*) from pg_database where datname = $1", database))
    finally:
        await connection.close()
