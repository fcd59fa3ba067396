"""Faults on demand: make a participant slow, silent, forgetful or dead, for demos and tests.

    python -m participants.kit.faults set payment refuse --command ProcessPayment --code card_declined --times 1
    python -m participants.kit.faults list payment
    python -m participants.kit.faults clear payment

    slow       the effect commits at once, the reply leaves --seconds later; other commands are not held up
    silent     the effect commits and is remembered, the reply never leaves
    drop       the command is ignored entirely
    duplicate  the reply leaves --copies times
    refuse     an action is refused for good, with --code
    retry      an action fails in a way that may pass, with --code
    fail_undo  a compensation fails, with --code; it is not remembered
    crash      the process kills itself, --phase before_commit, after_commit (nothing published) or after_publish

Faults are rows of the table `faults` in the participant's schema, so they can also be set with plain SQL. They act
from the next batch on. `match` compares with the saga id and with each text at the top of the command's payload.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, NoReturn

import asyncpg
import msgspec

from coordinator.wire.inbound import InboundCommand
from coordinator.wire.messages import Compensation
from participants.kit.outcomes import Refused, Retry
from participants.kit.replies import Outgoing
from participants.kit.settings import Settings
from participants.kit.statements import statement

CRASH_PHASES: Final = ("before_commit", "after_commit", "after_publish")
KINDS: Final = ("slow", "silent", "drop", "duplicate", "refuse", "retry", "fail_undo", "crash")


class Fault(msgspec.Struct, kw_only=True):
    """One row of `faults`; `remaining` null means until cleared."""

    id: int
    command: str
    match: str | None
    kind: str
    seconds: float | None = None
    copies: int | None = None
    code: str | None = None
    phase: str | None = None
    remaining: int | None = None


class Faults:
    """The faults in force for one batch, and how often each was used."""

    def __init__(self, rows: Iterable[Fault] = ()) -> None:
        self._rows = list(rows)
        self.used: Counter[int] = Counter()

    @classmethod
    def parse(cls, text: str | None) -> Faults:
        """Read the JSON array that Postgres made of the table; null when there are none."""
        return cls(msgspec.json.decode(text, type=list[Fault])) if text else cls()

    def __bool__(self) -> bool:
        return bool(self._rows)

    def use(self, inbound: InboundCommand, kind: str, *, count: bool = True) -> Fault | None:
        """Find the first fault of a kind that is meant for a command, and count it as used."""
        for fault in self._rows:
            if fault.kind == kind and self._left(fault) and _is_meant_for(fault, inbound):
                if count:
                    self.used[fault.id] += 1
                return fault
        return None

    def _left(self, fault: Fault) -> bool:
        return fault.remaining is None or self.used[fault.id] < fault.remaining


def _is_meant_for(fault: Fault, inbound: InboundCommand) -> bool:
    if fault.command not in {"*", inbound.name}:
        return False
    return fault.match is None or fault.match in _values(inbound)


def _values(inbound: InboundCommand) -> set[str]:
    command = inbound.command
    payload = command.original_payload if isinstance(command, Compensation) else command.payload
    return {command.saga_id, *(value for value in payload.values() if isinstance(value, str))}


def faulty_outcome(faults: Faults, inbound: InboundCommand) -> Refused | Retry | None:
    """Say what a command that is about to run is answered instead."""
    if isinstance(inbound.command, Compensation):
        fault = faults.use(inbound, "fail_undo")
        return Retry(fault.code or "undo_failed", "a fault on demand") if fault is not None else None
    if (fault := faults.use(inbound, "refuse")) is not None:
        return Refused(fault.code or "refused", "a fault on demand")
    if (fault := faults.use(inbound, "retry")) is not None:
        return Retry(fault.code or "not_now", "a fault on demand")
    return None


def disturb(faults: Faults, inbound: InboundCommand, outgoing: Outgoing) -> bool:
    """Make a reply late or manifold; False when it must not leave at all."""
    if faults.use(inbound, "silent") is not None:
        return False
    if (fault := faults.use(inbound, "slow")) is not None:
        outgoing.delay = fault.seconds or 0.0
    if (fault := faults.use(inbound, "duplicate")) is not None:
        outgoing.copies = fault.copies or 2
    return True


def crash() -> NoReturn:
    """End this process as `kill -9` would."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise SystemExit(137)  # not reached: nothing survives the line above


async def count_down(url: str, participant: str, fault: Fault) -> None:
    """Count one use of a fault durably, in a transaction of its own."""
    connection = await asyncpg.connect(url, server_settings={"search_path": participant})
    try:
        await connection.execute(statement("count_down"), [fault.id], [1])
    finally:
        await connection.close()


async def set_fault(
    url: str,
    participant: str,
    kind: str,
    *,
    command: str = "*",
    match: str | None = None,
    seconds: float | None = None,
    copies: int | None = None,
    code: str | None = None,
    phase: str | None = None,
    times: int | None = None,
) -> int:
    """Set one fault and return its id; `times` None means until cleared."""
    connection = await asyncpg.connect(url)
    try:
        fault_id: int = await connection.fetchval(
            f"""insert into "{participant}".faults (kind, command, match, seconds, copies, code, phase, remaining)
                values ($1, $2, $3, $4, $5, $6, $7, $8) returning id""",  # noqa: S608 (a schema cannot be a parameter)
            *(kind, command, match, seconds, copies, code, phase, times),
        )
    finally:
        await connection.close()
    return fault_id


async def clear_faults(url: str, participant: str) -> None:
    """Remove every fault of a participant."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f'delete from "{participant}".faults')  # noqa: S608
    finally:
        await connection.close()


async def list_faults(url: str, participant: str) -> list[Fault]:
    """List a participant's faults, those that are used up included."""
    connection = await asyncpg.connect(url)
    try:
        text = await connection.fetchval(
            f"select coalesce(json_agg(f order by id), '[]')::text from \"{participant}\".faults f"  # noqa: S608
        )
    finally:
        await connection.close()
    return msgspec.json.decode(text, type=list[Fault])


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line described at the top of this module."""
    options = _parser().parse_args(arguments)
    url = Settings().database.url
    if options.verb == "set":
        given = {name: getattr(options, name) for name in ("command", "match", "code", "phase", "times")}
        seconds = (options.seconds if options.seconds is not None else 5.0) if options.kind == "slow" else None
        copies = (options.copies or 2) if options.kind == "duplicate" else None
        if options.kind == "crash" and options.phase is None:
            given["phase"] = "after_commit"
        number = asyncio.run(set_fault(url, options.participant, options.kind, seconds=seconds, copies=copies, **given))
        print(f"fault {number} set")  # noqa: T201
    elif options.verb == "clear":
        asyncio.run(clear_faults(url, options.participant))
        print("no faults")  # noqa: T201
    else:
        for fault in asyncio.run(list_faults(url, options.participant)):
            print(msgspec.json.encode(fault).decode())  # noqa: T201


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m participants.kit.faults", description="Faults on demand.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    setting = verbs.add_parser("set", help="set a fault")
    setting.add_argument("participant")
    setting.add_argument("kind", choices=KINDS)
    setting.add_argument("--command", default="*", help="name of the command, default all")
    setting.add_argument("--match", help="saga id, order id, or any text at the top of the payload")
    setting.add_argument("--seconds", type=float, help="slow: how late the reply leaves, default 5")
    setting.add_argument("--copies", type=int, help="duplicate: how many copies of the reply, default 2")
    setting.add_argument("--code", help="refuse, retry, fail_undo: the error code")
    setting.add_argument("--phase", choices=CRASH_PHASES, help="crash: when, default after_commit")
    setting.add_argument("--times", type=int, help="how many commands it hits, default until cleared")
    for verb in ("list", "clear"):
        verbs.add_parser(verb).add_argument("participant")
    return parser


if __name__ == "__main__":
    main()
