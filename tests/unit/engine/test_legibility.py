"""What a person can read of a dead letter, and what an edit may not change by accident."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from coordinator.engine.registry import Registry
from coordinator.services.legibility import KeptRecord, changed_identity, legible, refusal_of
from tests.e2e.definitions import definitions

SAGA = "0198c0de-0000-7000-8000-000000000001"
OTHER = "0198c0de-0000-7000-8000-000000000002"
REGISTRY = Registry(definitions)
REPLY = {"saga_id": SAGA, "step_name": "reserve_inventory", "command_id": "c", "attempt": 1, "result": {}}
HEADERS = [("ce_type", b"SagaStepCompleted"), ("ce_id", b"c#reply"), ("ce_source", b"inventory")]


def record(value: bytes | dict[str, Any] | None) -> KeptRecord:
    """Make a reply's record."""
    raw = json.dumps(value).encode() if isinstance(value, dict) else value
    return KeptRecord("t", 0, 7, SAGA.encode(), raw, HEADERS)


def test_a_good_record_is_not_refused() -> None:
    """What the coordinator would read is said to be readable, with its type and its JSON."""
    shown = legible(record(REPLY), REGISTRY)
    assert (shown.message_type, shown.text, shown.refusal) == ("SagaStepCompleted", None, None)
    assert shown.json is not None
    assert msgspec.json.decode(shown.json) == REPLY


def test_a_refusal_names_the_field() -> None:
    """A wrong field is named by its path."""
    refusal = refusal_of(record(REPLY | {"attempt": "one"}), REGISTRY)
    assert refusal is not None
    assert (refusal.reason, refusal.path) == ("schema", "attempt")


@pytest.mark.parametrize(
    ("value", "text"), [(b"not json", "not json"), (b"\xff\x00", None), (None, None), (b"[1]", "[1]")]
)
def test_what_is_no_json_object_is_shown_as_far_as_it_goes(value: bytes | None, text: str | None) -> None:
    """Text is shown as text, other bytes as nothing, and neither breaks anything."""
    shown = legible(record(value), REGISTRY)
    assert (shown.json, shown.text) == (None, text)
    assert shown.refusal is not None


def test_a_result_that_is_too_large_is_refused() -> None:
    """Limits beyond the decoder's are told, too, before anything is sent."""
    refusal = refusal_of(record(REPLY | {"result": {"text": "x" * 130 * 1024}}), REGISTRY)
    assert refusal is not None
    assert refusal.reason == "too_large"


def test_an_edit_keeps_what_the_record_is_about() -> None:
    """Another result is an edit; another saga or command is another record."""
    broken = record(REPLY | {"attempt": "one"})
    assert changed_identity(broken, record(REPLY)) == []
    assert changed_identity(broken, record(REPLY | {"saga_id": OTHER})) == ["saga_id"]
    assert changed_identity(broken, record(REPLY | {"command_id": "d"})) == ["command_id"]


def test_a_record_that_cannot_be_read_is_about_its_key() -> None:
    """Where the value says nothing, the key says which saga it is about."""
    assert changed_identity(record(b"not json"), record(REPLY)) == []
    assert changed_identity(record(b"not json"), record(REPLY | {"saga_id": OTHER})) == ["saga_id"]
    assert changed_identity(record(REPLY | {"saga_id": 7}), record(REPLY)) == []


def test_a_structured_event_keeps_its_id_and_source() -> None:
    """In structured mode the identity of the event is in the value, and is kept as well."""
    event = {"specversion": "1.0", "id": "c#reply", "source": "inventory", "type": "SagaStepCompleted", "data": REPLY}
    assert changed_identity(record(event), record(event)) == []
    assert changed_identity(record(event), record(event | {"source": "payment"})) == ["ce_source"]
    assert changed_identity(record(event), record(event | {"data": REPLY | {"saga_id": OTHER}})) == ["saga_id"]
