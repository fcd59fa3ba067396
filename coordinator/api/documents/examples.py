"""Examples of answers in the OpenAPI document, by their shapes: one order whose shipping hangs, and what is done."""

from __future__ import annotations

from typing import Any, Final

from coordinator.api.documents.batches import BatchPage, ItemPage
from coordinator.api.documents.catalogue import DefinitionList
from coordinator.api.documents.incidents import IncidentList
from coordinator.api.documents.keys import CreatedKey, KeyPage, Whoami
from coordinator.api.documents.letters import DeadLetterPage
from coordinator.api.documents.looking import LogPage, SomeOfSaga
from coordinator.api.documents.sagas import BulkAnswer
from coordinator.services.batch_operations import BatchOperation, DryRun
from coordinator.services.catalogue import DefinitionDetail
from coordinator.services.incidents import IncidentDetail
from coordinator.services.letter_views import DeadLetterDetail
from coordinator.services.participants import ParticipantDetail, ParticipantList
from coordinator.services.verbs import Preview
from coordinator.store.incidents import IncidentSummary
from coordinator.store.keys import KeyView
from coordinator.store.letters import LetterSummary
from coordinator.store.reads import SagaSummary

_ID = "01981c2e-8a4b-7c3d-9e10-3f5b8a6d2c41"
_BEGUN, _HUNG, _DONE = "2026-03-02T03:04:05.678Z", "2026-03-02T03:09:11.002Z", "2026-03-02T03:12:44.120Z"
_COMMAND_ID = f"{_ID}:1:create_shipment:action"

SAGA: Final[dict[str, Any]] = {
    "id": _ID,
    "definition": "OrderFulfillment",
    "definition_version": 1,
    "business_key": "order-1001",
    "status": "suspended",
    "version": 6,
    "created_at": _BEGUN,
    "updated_at": _HUNG,
    "deadline": None,
}
_STEP = {
    "name": "create_shipment",
    "kind": "retriable",
    "group": None,
    "participant": "shipping",
    "action": "CreateShipment",
    "compensation": None,
    "outcome": "unknown",
    "undo": "none",
    "generation": 1,
    "attempts": 3,
    "undo_attempts": 0,
    "deadline": None,
    "payload": None,
    "result": None,
    "effect": None,
    "late_success": False,
    "condition": None,
    "held": False,
}
_OF_SAGA = {
    "id": 17,
    "reason": "retries_exhausted",
    "step_name": "create_shipment",
    "detail": "no reply to 3 attempts",
    "saga_version": 6,
    "opened_at": _HUNG,
    "assignee": "ann",
    "resolved_at": None,
    "resolved_by": None,
    "resolved_because": None,
}
_DETAIL = {
    **SAGA,
    "facing": "forward",
    "traceparent": None,
    "input": {"order_id": "order-1001", "amount_cents": 4200, "currency": "EUR"},
    "steps": [_STEP],
    "incidents": [_OF_SAGA],
    "labels": {"tenant": "acme"},
}
_ENTRY = {
    "version": 6,
    "at": _HUNG,
    "event": "TimedOut",
    "step_name": "create_shipment",
    "status": "suspended",
    "data": {"attempt": 3},
}
_PREVIEW = {
    "verb": "retry",
    "version": 6,
    "status": "suspended",
    "next_status": "pending",
    "commands": [
        {
            "step": "create_shipment",
            "participant": "shipping",
            "command": "CreateShipment",
            "command_id": _COMMAND_ID,
            "attempt": 4,
            "payload": {"order_id": "order-1001"},
        }
    ],
    "to_be_undone": [],
    "stays_done": ["process_payment"],
    "incidents": ["retries_exhausted"],
}
_BATCH = {
    "id": "01981c35-11d2-7e0f-8a6b-6d2c41f0a9b3",
    "verb": "retry",
    "state": "running",
    "counts": {"total": 3120, "done": 400, "refused": 2, "failed": 0, "left": 2718},
    "rate": 200,
    "filter": {"status": "suspended", "definition": "OrderFulfillment"},
    "members": {},
    "actor": "key:ann",
    "reason": "shipping is back",
    "created_at": _DONE,
    "changed_at": _DONE,
    "ended_at": None,
}
_INCIDENT = {
    **_OF_SAGA,
    "state": "open",
    "saga_id": _ID,
    "definition": "OrderFulfillment",
    "definition_version": 1,
    "business_key": "order-1001",
    "saga_status": "suspended",
    "assigned_at": _DONE,
    "acts": 2,
}
_LETTER = {
    "id": 9,
    "kind": "record",
    "state": "open",
    "reason": "not_json",
    "detail": "the value is no JSON",
    "topic": "saga.replies",
    "partition": 3,
    "first_offset": 4711,
    "next_offset": 4712,
    "value_length": 5,
    "complete": True,
    "edited": False,
    "saga_id": None,
    "command_id": None,
    "tries": 0,
    "at": _HUNG,
    "next_try_at": None,
    "changed_at": None,
    "changed_by": None,
    "changed_because": None,
}
_KEY = {
    "id": "3f2a9c10",
    "name": "checkout",
    "role": "service",
    "definitions": ["OrderFulfillment"],
    "state": "valid",
    "created_at": _BEGUN,
    "created_by": "key:ann",
    "expires_at": None,
    "revoked_at": None,
    "revoked_by": None,
    "revoked_because": None,
    "last_used_at": _DONE,
}
_PARTICIPANT = {
    "name": "shipping",
    "limit": 100,
    "held": 0,
    "in_flight": 12,
    "breaker": "closed",
    "since": _BEGUN,
    "why": None,
    "last_reply_at": _DONE,
    "recent": {
        "seconds": 300,
        "replies": 941,
        "failures": 3,
        "timeouts": 1,
        "failure_rate": 0.004,
        "p50_ms": 18,
        "p99_ms": 240,
    },
    "group": "shipping",
    "lag": 0,
    "lag_unknown": None,
}
_VERSION = {"known_by": 2, "replicas": 2, "content_hash": "8f14e45fceea167a", "loaded": True, "in_flight": 12}
_TEXT = {"size": 5, "kept": 5, "text": "hello"}

EXAMPLES: Final[dict[type, Any]] = {
    SagaSummary: SAGA,
    SomeOfSaga: _DETAIL,
    LogPage: {"entries": [_ENTRY], "next_after": None},
    BulkAnswer: {
        "counts": {"created": 1, "existing": 0, "conflict": 0, "invalid": 0, "failed": 0},
        "items": [{"index": 0, "outcome": "created", "saga": {**SAGA, "status": "pending", "version": 1}}],
    },
    Preview: _PREVIEW,
    DryRun: {"count": 3120, "sample": [SAGA], "confirmation": "AgGYHC6KS3w9nhA_W4ptLEE", "expires_at": _DONE},
    BatchOperation: _BATCH,
    BatchPage: {"batch_operations": [_BATCH], "next_cursor": None},
    ItemPage: {
        "items": [{"saga_id": _ID, "version": 6, "version_after": 7, "outcome": "done", "detail": None}],
        "next_cursor": None,
    },
    IncidentSummary: _INCIDENT,
    IncidentList: {"incidents": [_INCIDENT], "next_cursor": None},
    IncidentDetail: {
        **_INCIDENT,
        "saga": SAGA,
        "notes": [{"id": 3, "at": _DONE, "actor": "key:ann", "text": "the carrier answers 500"}],
        "closed_by": "verb",
        "verbs": ["retry", "skip", "abandon"],
    },
    LetterSummary: _LETTER,
    DeadLetterPage: {"dead_letters": [_LETTER], "next_cursor": None},
    DeadLetterDetail: {
        **_LETTER,
        "cluster_id": "MkU3OEVBNTcwNTJENDM2Qg",
        "about": {"message_type": None, "saga_id": None, "step_name": None, "command_id": None, "definition": None},
        "saga": None,
        "refusal": {"reason": "not_json", "detail": "the value is no JSON", "path": ""},
        "record": {"key": None, "value": _TEXT, "headers": [{"name": "content-type", "value": None}]},
        "edited_record": None,
    },
    KeyView: _KEY,
    CreatedKey: {**_KEY, "last_used_at": None, "secret": "(shown this once)"},
    KeyPage: {"keys": [_KEY], "next_cursor": None},
    Whoami: {
        "actor": "key:checkout",
        "role": "service",
        "definitions": ["OrderFulfillment"],
        "permissions": ["answer", "look", "start"],
        "authentication": "required",
    },
    ParticipantList: {"partitions": [0, 1, 2, 3], "participants": [_PARTICIPANT]},
    ParticipantDetail: {
        **_PARTICIPANT,
        "processes": [
            {
                "process": "engine-1",
                "partitions": 4,
                "in_flight": 12,
                "breaker": "closed",
                "since": _BEGUN,
                "why": None,
                "last_reply_at": _DONE,
            }
        ],
    },
    DefinitionList: {
        "definitions": [
            {**_VERSION, "name": "OrderFulfillment", "version": 1, "replaced": False, "steps": 4, "suspended": 3}
        ]
    },
    DefinitionDetail: {
        **_VERSION,
        "name": "OrderFulfillment",
        "version": 1,
        "kind": "saga",
        "document": {"name": "OrderFulfillment", "version": 1},
        "counts": {"completed": 941220, "pending": 12},
    },
}
"""The example of each shape that an answer may have."""
