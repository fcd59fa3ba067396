"""Definitions to search: small ones of every shape, and stand-ins for a journey and a transfer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from coordinator.saga.definition import Retry, SagaDefinition, Step, external, hours, minutes, parallel
from coordinator.saga.model import Kind


class Order(BaseModel):
    """The smallest input."""

    order_id: str


def define(*steps: Step, **options: Any) -> SagaDefinition:
    """Make a definition of these steps; nothing is tried again on its own unless asked for."""
    return SagaDefinition("Small", 1, Order, "order_id", steps, **{"recovery": Retry(attempts=0), **options})


def step(name: str, attempts: int = 1, undo_attempts: int = 1, **options: Any) -> Step:
    """Make a step with small budgets; it has a compensation unless its options say otherwise."""
    compensatable = options.get("kind", Kind.COMPENSATABLE) is Kind.COMPENSATABLE
    return Step(
        name,
        **{
            "participant": f"{name}-service",
            "action": "Do",
            "compensation": "Undo" if compensatable else None,
            "retry": Retry(attempts=attempts),
            "compensation_retry": Retry(attempts=undo_attempts),
            **options,
        },
    )


def plain(steps: int, attempts: int = 1, undo_attempts: int = 1) -> SagaDefinition:
    """Make a saga of a few steps in a row."""
    return define(*(step(f"s{number}", attempts, undo_attempts) for number in range(steps)))


def is_dear(_input: Any, _results: Any) -> bool:
    """A condition; the search never calls it."""
    raise NotImplementedError


def bill(_input: Any, _results: Any) -> dict[str, Any]:
    """A payload; the search never calls it."""
    raise NotImplementedError


def booking(what: str) -> Step:
    """Make one booking of a journey."""
    return Step(f"book_{what}", participant=what, action=f"Book{what.title()}", compensation=f"Cancel{what.title()}")


journey = SagaDefinition(
    "Journey",
    1,
    Order,
    "order_id",
    (
        *parallel("bookings", booking("hotel"), booking("flight"), booking("car")),
        external("approval", timeout=hours(4), when=is_dear),
        Step("pay", participant="payment", action="Pay", kind=Kind.PIVOT, payload=bill),
        Step("send_tickets", participant="mail", action="SendTickets", kind=Kind.RETRIABLE),
    ),
    deadline=hours(8),
)

transfer = SagaDefinition(
    "Transfer",
    1,
    Order,
    "order_id",
    (
        Step("debit", participant="bank-a", action="Debit", compensation="Refund"),
        Step("record", participant="ledger", action="Record", compensation="Strike"),
        Step("credit", participant="bank-b", action="Credit", kind=Kind.PIVOT),
        Step("notify", participant="mail", action="Notify", kind=Kind.RETRIABLE),
    ),
    deadline=minutes(30),
)

definitions = (transfer, replace(transfer, version=2))
