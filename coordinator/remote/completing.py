"""What the shell may offer behind a word: contexts, statuses, and names and ids that a server tells in time."""

from __future__ import annotations

import os
from typing import Any, Final

import typer

from coordinator.remote.client import Client
from coordinator.remote.contexts import Asked, choose_server, config_path, read_config
from coordinator.remote.outside import outside_of
from coordinator.remote.refusals import Refusal

PATIENCE_S: Final = 1.0
STATUSES: Final = (
    "scheduled",
    "started",
    "pending",
    "compensating",
    "completed",
    "failed",
    "suspended",
    "abandoned",
)


def complete_contexts(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of contexts."""
    try:
        config = read_config(config_path(ctx.params.get("config"), os.environ))
    except Refusal:
        return []
    return [name for name in sorted(config.contexts) if name.startswith(incomplete)]


def complete_statuses(incomplete: str) -> list[str]:
    """Words for a saga's status."""
    return [status for status in STATUSES if status.startswith(incomplete)]


def complete_definitions(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of definitions that the server knows."""
    found = _asked(ctx, "/v1/definitions", {}, "definitions")
    return sorted({each["name"] for each in found if each.get("name", "").startswith(incomplete)})


def complete_sagas(ctx: typer.Context, incomplete: str) -> list[str]:
    """Ids of the newest sagas; those that wait for a person come first."""
    found = _asked(ctx, "/v1/sagas", {"status": "suspended", "limit": 50}, "sagas")
    found += _asked(ctx, "/v1/sagas", {"limit": 50}, "sagas") if len(found) < 50 else []
    return [id_ for id_ in dict.fromkeys(each["id"] for each in found) if id_.startswith(incomplete)]


def _asked(ctx: typer.Context, target: str, query: dict[str, Any], name: str) -> list[dict[str, Any]]:
    given = ctx.params
    asked = Asked(given.get("url"), given.get("context"), given.get("config"))
    try:
        with Client(choose_server(asked, os.environ), outside_of(ctx).transport, PATIENCE_S) as client:
            found = client.get(target, query).value[name]
    except (Refusal, KeyError, TypeError):
        return []
    return list(found)
