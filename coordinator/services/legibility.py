"""What a person can read of a record: its message as far as it decodes, and why the coordinator does not take it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, cast

import msgspec

from coordinator.engine.reading import BadArrival, read
from coordinator.engine.registry import Registry
from coordinator.wire.inbound import Inbound, decode_inbound
from coordinator.wire.messages import SAGA_ID_PATTERN
from coordinator.wire.strict_json import Refused

WORD_MAX = 200  # characters of a message's type
COMMAND_ID_MAX = 300
IDENTITY = ("saga_id", "command_id")
_IDENTITY_OF_EVENT = {"id": "ce_id", "source": "ce_source"}  # structured mode holds them in the value

_SAGA_ID = re.compile(SAGA_ID_PATTERN.strip("^$"))


class KeptRecord(msgspec.Struct, frozen=True):
    """A record as a dead letter holds it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    timestamp: int = 0


class Refusal(msgspec.Struct, frozen=True):
    """Why a record is not taken: a word for machines, a sentence, and the path of the wrong field ("" if none)."""

    reason: str
    detail: str
    path: str


class Legible(msgspec.Struct, frozen=True):
    """A record as far as it can be read: the message's type, its value as JSON or as text, or neither (binary)."""

    message_type: str | None
    json: msgspec.Raw | None
    text: str | None
    refusal: Refusal | None


class About(msgspec.Struct, frozen=True):
    """What a record is about, as far as it says: the type of its message, and which saga, step and command."""

    message_type: str | None
    saga_id: str | None
    step_name: str | None
    command_id: str | None
    definition: str | None


def about(record: KeptRecord) -> About:
    """Look what a record is about; its key stands for the saga that its value does not name."""
    data = data_of(record) or {}
    key = (record.key or b"").decode(errors="replace")
    saga_id = next((text for text in (data.get("saga_id"), key) if _is_saga_id(text)), None)
    known = dict(record.headers).get("ce_type")
    return About(
        None if known is None else known.decode(errors="replace")[:WORD_MAX],
        saga_id,
        *(_word(data.get(name)) for name in ("step_name", "command_id", "definition")),
    )


def data_of(record: KeptRecord) -> dict[str, Any] | None:
    """The message in a record, read leniently; None when it is no JSON object."""
    tree = _tree(record.value)
    if tree is not None and "specversion" in tree:
        data = tree.get("data")
        return data if isinstance(data, dict) else None
    return tree


def _word(value: object) -> str | None:
    return value if isinstance(value, str) and len(value) <= COMMAND_ID_MAX and value.isprintable() else None


def _is_saga_id(value: object) -> bool:
    return isinstance(value, str) and _SAGA_ID.fullmatch(value) is not None


def legible(record: KeptRecord, registry: Registry) -> Legible:
    """Show what a record says."""
    value = record.value
    tree = _tree(value)
    text = None
    if value is not None and tree is None:
        try:
            text = value.decode()
        except UnicodeDecodeError:
            text = None
    known = dict(record.headers).get("ce_type")
    return Legible(
        None if known is None else known.decode(errors="replace")[:WORD_MAX],
        None if tree is None else msgspec.Raw(cast("bytes", value)),
        text,
        refusal_of(record, registry),
    )


def refusal_of(record: KeptRecord, registry: Registry) -> Refusal | None:
    """Why the coordinator would set this record aside on sight; None when it would read it."""
    try:
        opened(record)
    except Refused as refused:
        return Refusal(refused.reason, refused.detail, refused.path)
    [arrival] = read([(record.partition, [record])], registry, {})
    return Refusal(arrival.reason, arrival.detail, "") if isinstance(arrival, BadArrival) else None


def opened(record: KeptRecord) -> Inbound:
    """The message of a record; raises Refused."""
    return decode_inbound(record.headers, record.key, record.value)  # type: ignore[arg-type]


def changed_identity(original: KeptRecord, edited: KeptRecord) -> list[str]:
    """Which of the fields that say what a record is about differ from the original's, where that can be read.

    An original that does not say which saga it is about is about the one that its key names.
    """
    before, after = _identity(original), _identity(edited)
    if original.key is not None and "saga_id" in after:
        before.setdefault("saga_id", original.key.decode(errors="replace"))
    return sorted(name for name, text in before.items() if after.get(name) != text)


def _identity(record: KeptRecord) -> dict[str, str]:
    tree = _tree(record.value) or {}
    found: dict[str, Any] = {}
    data = tree
    if "specversion" in tree and isinstance(tree.get("data"), dict):
        data = tree["data"]
        found = {name: tree.get(field) for field, name in _IDENTITY_OF_EVENT.items()}
    found |= {name: data.get(name) for name in IDENTITY}
    return {name: text for name, text in found.items() if isinstance(text, str)}


def _tree(value: bytes | None) -> dict[str, Any] | None:
    """The value as a JSON object, if it is one, leniently: for people's eyes and for comparing."""
    try:
        tree = msgspec.json.decode(value or b"")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return tree if isinstance(tree, dict) else None
