"""API keys: `keys`. A new one is shown once, here and nowhere else."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import typer
from rich.text import Text

from coordinator.exits import ExitCode
from coordinator.remote.client import Answer, path
from coordinator.remote.groups import Listing
from coordinator.remote.output import Column, Output, member
from coordinator.remote.session import LIMIT_DEFAULT, Cursor, Everything, Limit, Reason, Session, Yes, chosen, command
from coordinator.remote.times import moment_of

app = typer.Typer()
keys = typer.Typer(
    cls=Listing,
    help="API keys: who may come in, and what they may do. The first: `saga keys bootstrap NAME`, beside the database.",
)
app.add_typer(keys, name="keys")

PATH: Final = "keys"
Role = Literal["viewer", "operator", "admin", "service"]


@keys.command("list")
@command
def list_keys(
    session: Session, limit: Limit = LIMIT_DEFAULT, everything: Everything = False, cursor: Cursor = None
) -> None:
    """List keys; never the secret in them."""
    columns = [
        Column("ID", member("id"), whole=True),
        Column("NAME", member("name"), whole=True),
        Column("ROLE", member("role")),
        Column("STATE", member("state")),
        Column("EXPIRES", session.output.moment("expires_at")),
        Column("REVOKED", session.output.moment("revoked_at")),
        Column("LAST USED", session.output.moment("last_used_at"), wide=True),
        Column("DEFINITIONS", member("definitions"), wide=True),
    ]
    session.listing(path(PATH), "keys", columns, {}, limit=limit, everything=everything, cursor=cursor)


@keys.command("create")
@command
def create(
    session: Session,
    name: Annotated[str, typer.Argument(help="whose it is", show_default=False)],
    role: Annotated[Role, typer.Option("--role", help="what it may do", show_default=False)],
    expires: Annotated[str | None, typer.Option("--expires", help="a moment, or a span from now: 90d")] = None,
    definition: Annotated[
        list[str] | None, typer.Option("--definition", help="only sagas of it; may be repeated")
    ] = None,
    reason: Annotated[str | None, typer.Option("--reason", help="why: it is recorded")] = None,
) -> None:
    """Make a key and print it, once."""
    body = {"name": name, "role": role}
    more = chosen(expires_at=moment_of(expires, ahead=True), definitions=definition, reason=reason)
    answer = session.client.post(path(PATH), {**body, **more})
    session.output.one(answer, lambda _: _made(session.output, answer))


@keys.command("revoke")
@command
def revoke(
    session: Session,
    key_id: Annotated[str, typer.Argument(help="the key's id", show_default=False)],
    reason: Reason = None,
    yes: Yes = False,
) -> None:
    """End a key at once."""
    if not session.confirm(f"Revoke key {key_id}? Whoever uses it is locked out at once.", yes=yes):
        session.output.say("nothing was done")
        raise typer.Exit(ExitCode.NO)
    session.output.one(session.client.post(path(PATH, key_id, "revoke"), {"reason": session.reason(reason)}))


def _made(output: Output, answer: Answer) -> Text:
    """The secret alone on standard output, so that it can be piped to where it belongs."""
    shown = {name: value for name, value in answer.value.items() if name != "secret"}
    output.say(output.details(shown))
    output.say("this is the key; it is not shown again:")
    return Text(str(answer.value.get("secret", "")))
