"""The routes that look after API keys, and the one that says who asks."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from pydantic import Field

from coordinator.api.documents.common import BODY_PROBLEMS, CURSOR, IDEMPOTENCY_KEY, PARAMETER_PROBLEMS, Body, Said
from coordinator.api.openapi import Answer, Document, Link, in_path, in_query
from coordinator.store.keys import KeyView

DefinitionName = Annotated[str, Field(pattern=r"^[A-Z][A-Za-z0-9]{0,62}$")]


class KeyBody(Body):
    """A key to make."""

    name: Annotated[
        str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$", description="Acts are recorded as those of key:NAME.")
    ]
    role: Literal["viewer", "operator", "admin", "service"]
    expires_at: Annotated[
        str | None,
        Field(
            max_length=40,
            description="RFC 3339; when left out the key does not expire.",
            json_schema_extra={"format": "date-time"},
        ),
    ] = None
    definitions: Annotated[
        list[DefinitionName] | None,
        Field(min_length=1, max_length=100, description="Which sagas it may know of; not for administrators."),
    ] = None
    reason: Said = "a key was needed"


class RevokeKeyBody(Body):
    """Why a key ends."""

    reason: Said


class CreatedKey(KeyView, frozen=True):
    """A key that was just made; `secret` is the token to send, and is never shown again."""

    secret: str


class KeyPage(msgspec.Struct, frozen=True):
    """A page of keys; `next_cursor` is null on the last one."""

    keys: list[KeyView]
    next_cursor: str | None


class Whoami(msgspec.Struct, frozen=True):
    """Who asks: their role, the definitions that they may know of (null: all), and how this process tells."""

    actor: str
    role: str
    definitions: list[str] | None
    permissions: list[str]
    authentication: str


_KEY_ID = in_path("key_id", {"type": "string", "pattern": "^[0-9a-f]{8}$"})

WHOAMI = Document("whoami", "keys", "Who asks, and what they may do", {200: Answer("You", Whoami)}, PARAMETER_PROBLEMS)
LIST_KEYS = Document(
    "listKeys",
    "keys",
    "API keys, valid or not, without their secrets",
    {200: Answer("A page", KeyPage)},
    {400: "The cursor is not of this list", **PARAMETER_PROBLEMS},
    parameters=[
        in_query("limit", "How many.", {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}),
        CURSOR,
    ],
)
CREATE_KEY = Document(
    "createKey",
    "keys",
    "Make an API key",
    {
        201: Answer(
            "The key, with its secret, this once",
            CreatedKey,
            links={"revokeKey": Link({"key_id": "$response.body#/id"}, {"reason": "it is not needed any more"})},
        )
    },
    {**BODY_PROBLEMS, 409: "Two valid keys have this name"},
    KeyBody,
    {"name": "checkout", "role": "service", "definitions": ["OrderFulfillment"], "reason": "the shop goes live"},
)
REVOKE_KEY = Document(
    "revokeKey",
    "keys",
    "End an API key, in every process within a second",
    {200: Answer("The key; one that was ended before stays as it was", KeyView)},
    {**BODY_PROBLEMS, 404: "There is no such key"},
    RevokeKeyBody,
    {"reason": "it was seen in a chat"},
    [_KEY_ID, IDEMPOTENCY_KEY],
)
