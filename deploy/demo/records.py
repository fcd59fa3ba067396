"""What the participants' own tables say of sagas, and which of the coordinator's commands were dead-lettered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from deploy.demo.judging.sagas import Records
from deploy.demo.stories.model import Books, Family
from deploy.demo.totals import Connection

# A command's id is saga id:generation:step:direction.
LETTERS_SQL: Final = """
select saga_id::text, split_part(command_id, ':', 3) as step
from dead_letter where kind <> 'record' and saga_id::text = any($1::text[])
"""


async def read_records(connection: Connection, family: Family, saga_ids: Sequence[str]) -> dict[str, Records]:
    """Read what the participants recorded, by the saga id under which they did."""
    books = {saga_id: Books(Counter(), Counter()) for saga_id in saga_ids}
    for step, line in family.lines.items():
        for saga_id, done, undone in await connection.fetch(line.sql, saga_ids):
            books[saga_id].done[step], books[saga_id].undone[step] = done, undone
    steps: dict[tuple[str, str], list[str]] = {}
    for row in await connection.fetch(_effects_sql(family), saga_ids):
        steps.setdefault((row["saga_id"], row["kind"]), []).append(family.commands[row["command"]])
    return {
        saga_id: Records(
            books[saga_id], tuple(steps.get((saga_id, "done"), ())), tuple(steps.get((saga_id, "undone"), ()))
        )
        for saga_id in saga_ids
    }


async def read_letters(connection: Connection, saga_ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Read which steps were dead-lettered, by saga id."""
    letters: dict[str, tuple[str, ...]] = dict.fromkeys(saga_ids, ())
    for saga_id, step in await connection.fetch(LETTERS_SQL, saga_ids):
        letters[saga_id] += (step,)
    return letters


def _effects_sql(family: Family) -> str:
    """Effects of all participants in order: they share one Postgres in the demo, so its clock tells it."""
    each = (f'select saga_id, kind, command, at from "{name}".effects' for name in family.participants)  # noqa: S608
    return f"select * from ({' union all '.join(each)}) as e where saga_id = any($1::text[]) order by at"  # noqa: S608
