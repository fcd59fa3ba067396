"""Microseconds per message for every hot road through the wire: `python -m benchmarks.wire`."""

from __future__ import annotations

import json
import sys
import timeit
from collections.abc import Callable
from typing import Any

from coordinator.wire import cloudevents, inbound, messages, murmur2, outbound, strict_json

SAGA_ID = "0190f6a4-3c3a-7d10-8a3b-2f1c9d0e4b57"
STEP = "process_payment"
COMMAND_ID = f"{SAGA_ID}:1:{STEP}:action"
NOW_MS = 1_760_000_000_123
KEY = SAGA_ID.encode()
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
RESULT = {
    "payment_id": f"pay_{SAGA_ID}",
    "amount_cents": 12_999,
    "currency": "EUR",
    "captured": True,
    "note": "captured by the acquirer, within limits",
}
INPUT = {
    "order_id": "order-1234567",
    "customer_id": "customer-42",
    "email": "somebody@example.org",
    "items": [{"sku": "sku-1", "quantity": 2}, {"sku": "sku-2", "quantity": 1}],
    "amount_cents": 12_999,
    "currency": "EUR",
    "card": {"token": "tok_visa"},
    "address": {"country": "DE", "city": "Köln", "street": "Domkloster 4"},
}


def main() -> None:
    """Print one line per road; the best of several rounds, since other work only ever adds time."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    for name, function in _roads().items():
        number = 10_000
        best = min(timeit.repeat(function, number=number, repeat=rounds)) / number * 1e6
        print(f"{name:<52}{best:8.2f} us")


def _roads() -> dict[str, Callable[[], Any]]:
    return {**_replies(), **_commands(), **_headers()}


def _replies() -> dict[str, Callable[[], Any]]:
    completed = messages.StepCompleted(SAGA_ID, STEP, COMMAND_ID, 1, RESULT)
    progress = messages.StepProgress(SAGA_ID, STEP, COMMAND_ID, 1)
    error = messages.StepError("card_declined", "The bank declined the card.", retryable=False)
    failed = messages.StepFailed(SAGA_ID, STEP, COMMAND_ID, 1, error)
    start = messages.StartRequested(definition="OrderFulfillment", input=INPUT)
    tree = json.loads(strict_json.encode(completed))
    spellings = {
        "our own bytes": strict_json.encode(completed),
        "compact, other order": strict_json.encode({"extra": 1, **dict(reversed(tree.items()))}),
        "with white space": json.dumps(tree, indent=2).encode(),
        "with a \\u escape (the judge)": strict_json.encode({**tree, "x": "?"}).replace(b"?", b"\\u00e9"),
    }
    roads: dict[str, Callable[[], Any]] = {
        f"decode reply, {len(value)} B, {name}": _decoding(completed.ce_type, value)
        for name, value in spellings.items()
    }
    for message in (failed, progress, start):
        value = strict_json.encode(message)
        roads[f"decode {message.ce_type}, {len(value)} B"] = _decoding(message.ce_type, value)
    roads["encode reply"] = lambda: strict_json.encode(messages.StepCompleted(SAGA_ID, STEP, COMMAND_ID, 1, RESULT))
    roads["encode SagaTransitioned"] = lambda: strict_json.encode(
        messages.Transitioned(
            SAGA_ID,
            "OrderFulfillment",
            1,
            "order-1",
            7,
            "step_completed",
            STEP,
            "pending",
            "2025-01-31T12:00:00Z",
        )
    )
    return roads


def _decoding(ce_type: str, value: bytes) -> Callable[[], Any]:
    headers = cloudevents.reply_headers(ce_type, COMMAND_ID + "#reply", "payment", SAGA_ID, NOW_MS, TRACE)
    inbound.decode_inbound(headers, KEY, value)
    return lambda: inbound.decode_inbound(headers, KEY, value)


def _commands() -> dict[str, Callable[[], Any]]:
    payload, result = strict_json.encode(INPUT), strict_json.encode(RESULT)

    def action() -> bytes:
        return outbound.encode_command(SAGA_ID, "OrderFulfillment", STEP, COMMAND_ID, 1, payload, NOW_MS)

    def undo() -> bytes:
        return outbound.encode_compensation(
            SAGA_ID, "OrderFulfillment", STEP, COMMAND_ID, 1, NOW_MS, COMMAND_ID, payload, "completed", result
        )

    headers = cloudevents.command_headers("ProcessPayment", COMMAND_ID, 1, SAGA_ID, NOW_MS, "saga.replies", 3, TRACE)
    command, compensation = action(), undo()
    return {
        f"encode command, {len(command)} B": action,
        f"encode compensation, {len(compensation)} B": undo,
        f"decode command, {len(command)} B": lambda: inbound.decode_command(headers, command),
        f"decode compensation, {len(compensation)} B": lambda: inbound.decode_command(headers, compensation),
    }


def _headers() -> dict[str, Callable[[], Any]]:
    return {
        "command headers (10)": lambda: cloudevents.command_headers(
            "ProcessPayment", COMMAND_ID, 1, SAGA_ID, NOW_MS, "saga.replies", 3, TRACE
        ),
        "reply headers (8)": lambda: cloudevents.reply_headers(
            "SagaStepCompleted", COMMAND_ID, "payment", SAGA_ID, NOW_MS, TRACE
        ),
        "murmur2 partition, a known key": lambda: murmur2.partition_of(KEY, 16),
        "murmur2, a new key": lambda: murmur2.murmur2.__wrapped__(KEY),
    }


if __name__ == "__main__":
    main()
