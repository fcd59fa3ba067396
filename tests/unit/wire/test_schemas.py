"""Published schemas: the same as the code, valid themselves, and agreeing with the reader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from coordinator.wire.outbound import encode_command, encode_compensation
from coordinator.wire.schemas import DIRECTORY, all_schemas, render, write

SCHEMAS = all_schemas()
ROOT = Path(__file__).parents[3]
SAGA_ID = "0190f6a4-3c3a-7d10-8a3b-2f1c9d0e4b57"
ECHO: dict[str, Any] = {"saga_id": SAGA_ID, "step_name": "pay", "command_id": f"{SAGA_ID}:1:pay:action", "attempt": 1}
ERROR = {"code": "declined", "message": "no", "retryable": False}
REFUSAL = {"code": "too_dear", "message": "no"}
MOMENT = "2025-01-31T12:00:00.000Z"
COMMAND = json.loads(encode_command(SAGA_ID, "Order", "pay", "c-1", 1, b'{"a":{"b":[1]}}', 0))
UNDO = (SAGA_ID, "Order", "pay", "c-2", 1, 0, "c-1", b"{}")
TRANSITION = {"saga_id": SAGA_ID, "definition": "Order", "version": 1, "business_key": "o-1", "saga_version": 3}

SAMPLES: list[tuple[str, dict[str, Any]]] = [
    ("Command", COMMAND),
    ("Compensation", json.loads(encode_compensation(*UNDO, "unknown", None))),
    ("Compensation", json.loads(encode_compensation(*UNDO, "completed", b'{"id":"p"}'))),
    ("SagaStepCompleted", {**ECHO, "result": {"deep": [[[[[[[[{}]]]]]]]]}, "an": "extra field"}),
    ("SagaStepFailed", {**ECHO, "error": ERROR}),
    ("SagaCompensationCompleted", {**ECHO, "effect": "nothing_to_undo"}),
    ("SagaCompensationFailed", {**ECHO, "error": ERROR}),
    ("SagaStepProgress", ECHO),
    ("SagaExternalStepCompleted", {"saga_id": SAGA_ID, "step_name": "approval", "result": {"by": "anna"}}),
    ("SagaExternalStepFailed", {"saga_id": SAGA_ID, "step_name": "approval", "error": REFUSAL}),
    ("SagaStartRequested", {"definition": "Order", "input": {}}),
    ("SagaStartRequested", {"definition": "Order", "version": 2, "input": {"a": 1}, "start_at": MOMENT}),
    ("SagaTouched", {"saga_id": SAGA_ID}),
    (
        "SagaTransitioned",
        {**TRANSITION, "event": "step_completed", "step_name": None, "status": "pending", "at": MOMENT},
    ),
    ("SagaStartRefused", {"definition": "O", "business_key": "o-1", "reason": "other_input", "saga_id": SAGA_ID}),
]


def _is_valid(name: str, message: object) -> bool:
    return bool(Draft202012Validator(SCHEMAS[name]).is_valid(message))


def test_files_and_code_are_equal() -> None:
    """docs/schemas holds what the code says, no more and no less (`python -m coordinator.wire.schemas` mends it)."""
    files = {file.stem: file.read_text(encoding="utf-8") for file in (ROOT / DIRECTORY).glob("*.json")}
    assert files == {name: render(schema) for name, schema in SCHEMAS.items()}


def test_writing_gives_one_file_for_each_message(tmp_path: Path) -> None:
    """The command creates the folder and writes every schema into it."""
    files = write(tmp_path / "new")
    assert {file.stem for file in files} == set(SCHEMAS)
    assert all(file.read_text(encoding="utf-8").endswith("}\n") for file in files)


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_schema_is_valid_and_has_a_sample(name: str) -> None:
    """Each is a JSON Schema of 2020-12 with an id of its own, and is tried on a message below."""
    Draft202012Validator.check_schema(SCHEMAS[name])
    assert SCHEMAS[name]["$id"].endswith(f":{name}")
    assert name in {sample for sample, _ in SAMPLES}


@pytest.mark.parametrize(("name", "message"), SAMPLES, ids=[name for name, _ in SAMPLES])
def test_good_messages_are_valid_and_incomplete_ones_are_not(name: str, message: dict[str, Any]) -> None:
    """What we write validates; without any one of its required fields it does not."""
    assert _is_valid(name, message)
    for field in SCHEMAS[name]["required"]:
        assert not _is_valid(name, {key: value for key, value in message.items() if key != field})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("SagaStepCompleted", {**ECHO, "result": []}),
        ("SagaStepCompleted", {**ECHO, "result": {}, "saga_id": SAGA_ID.upper()}),
        ("SagaStepCompleted", {**ECHO, "result": {}, "attempt": 0}),
        ("SagaCompensationCompleted", {**ECHO, "effect": "maybe"}),
        ("SagaStepFailed", {**ECHO, "error": {**ERROR, "retryable": "no"}}),
        ("SagaStartRequested", {"definition": "Order", "input": {}, "start_at": "now"}),
        ("Command", {**COMMAND, "direction": "compensation"}),
    ],
)
def test_what_the_reader_refuses_is_invalid(name: str, message: dict[str, Any]) -> None:
    """The published rules are those that the reader applies."""
    assert not _is_valid(name, message)
