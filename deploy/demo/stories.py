"""What the demo tells: orders that go well, orders that are refused, and faults that the coordinator has to survive.

Each story says what its orders are like, which faults wait for them, and what must come of it. Refusals come from the
orders and the participants' own data; only slow, silent or failing participants need a fault switch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from deploy.demo.definitions import order_fulfillment

DEFINITION: Final = order_fulfillment.name
STEPS: Final = tuple(step.name for step in order_fulfillment.steps)
STEP_OF: Final = {step.participant: step.name for step in order_fulfillment.steps}
COPIES: Final = 3  # of each reply in the story of the duplicates


@dataclass(frozen=True)
class Switch:
    """A fault that a participant is asked for, for the orders of one story; `times` None means until it is cleared."""

    participant: str
    kind: str
    command: str = "*"
    times: int | None = None
    copies: int | None = None


@dataclass(frozen=True)
class Expected:
    """What must come of an order: outcomes by step, and the steps that are undone, in the order of the undoing.

    `undo_attempts` is how often a step's compensation must have been asked for, at least. A `parked` saga was
    suspended with an incident on the way, and somebody let it go on.
    """

    status: str
    outcomes: tuple[str, ...]
    undone: tuple[str, ...] = ()
    undo_attempts: Mapping[str, int] = field(default_factory=dict)
    parked: bool = False

    @property
    def done(self) -> tuple[str, ...]:
        """The steps whose participants have something in their tables, undone or not."""
        return tuple(
            step for step, outcome in zip(STEPS, self.outcomes, strict=True) if outcome in {"completed", "unknown"}
        )


@dataclass(frozen=True)
class Story:
    """One thing that can happen to an order; `differs` is what its orders have that good ones have not."""

    name: str
    told: str
    expected: Expected
    orders: int = 1
    differs: Mapping[str, Any] = field(default_factory=dict)
    switches: tuple[Switch, ...] = ()

    @property
    def word(self) -> str:
        """The name as part of an order's id."""
        return self.name.replace(" ", "-")


@dataclass(frozen=True)
class Order:
    """One order of a story, as the API takes it."""

    story: Story
    input: Mapping[str, Any]

    @property
    def id(self) -> str:
        """The business key."""
        return str(self.input["order_id"])

    @property
    def units(self) -> int:
        """How many things are to be reserved."""
        return sum(item["quantity"] for item in self.input["items"])

    @property
    def amount_cents(self) -> int:
        """How much is to be paid."""
        return int(self.input["amount_cents"])


def orders_of(story: Story) -> Iterator[Order]:
    """Write a story's orders; they differ in what is bought, so that the books have something to tell apart."""
    for number in range(1, story.orders + 1):
        quantity = number % 3 + 1
        good: dict[str, Any] = {
            "order_id": f"{story.word}-{number:03d}",
            "customer_id": f"customer-{number}",
            "email": f"customer-{number}@example.org",
            "items": [{"sku": "sku-book", "quantity": quantity}, {"sku": "sku-lamp", "quantity": 1}],
            "amount_cents": 1990 * quantity + 4900,
            "currency": "EUR",
            "card": {"token": "tok_visa"},
            "address": {"country": "DE", "city": "Berlin", "street": "Invalidenstrasse 117"},
        }
        yield Order(story, good | dict(story.differs))


RESERVE, PAY, SHIP, CONFIRM = STEPS
DONE, REFUSED, UNKNOWN, WAITING = "completed", "failed", "unknown", "waiting"
ADDRESS_NOT_SERVED: Final = {"country": "AQ", "city": "McMurdo Station", "street": "Hut Point 1"}
_COMPLETED: Final = Expected("completed", (DONE, DONE, DONE, DONE))
_REFUSED_BY_SHIPPING: Final = (DONE, DONE, REFUSED, WAITING)


def order_stories(good_orders: int) -> tuple[Story, ...]:
    """List the stories, the plain ones first."""
    return (
        Story("good order", "nothing goes wrong", _COMPLETED, orders=good_orders),
        Story(
            "out of stock",
            "refused at step 1: nothing was done, nothing is undone",
            Expected("failed", (REFUSED, WAITING, WAITING, WAITING)),
            differs={"items": [{"sku": "sku-book", "quantity": 1}, {"sku": "sku-sold-out", "quantity": 1}]},
        ),
        Story(
            "card declined",
            "refused at step 2: the stock is released",
            Expected("failed", (DONE, REFUSED, WAITING, WAITING), (RESERVE,)),
            differs={"card": {"token": "tok_declined"}},
        ),
        Story(
            "address not served",
            "refused at step 3: the money goes back, then the stock",
            Expected("failed", _REFUSED_BY_SHIPPING, (PAY, RESERVE)),
            differs={"address": ADDRESS_NOT_SERVED},
        ),
        Story(
            "e-mail blocked",
            "refused at step 4: shipment, payment and stock are undone, one after the other",
            Expected("failed", (DONE, DONE, DONE, REFUSED), (SHIP, PAY, RESERVE)),
            differs={"email": "bounced@example.com"},
        ),
        Story(
            "silent shipping",
            "shipping ships but never says so: the step is unknown, and undone first",
            Expected("failed", (DONE, DONE, UNKNOWN, WAITING), (SHIP, PAY, RESERVE)),
            switches=(Switch("shipping", "silent", "CreateShipment"),),
        ),
        Story(
            "replies in triplicate",
            "every reply arrives three times, and every effect happens once",
            _COMPLETED,
            switches=tuple(Switch(participant, "duplicate", copies=COPIES) for participant in STEP_OF),
        ),
        Story(
            "refund stumbles",
            "the refund fails twice and then succeeds; nothing else is undone before it",
            Expected("failed", _REFUSED_BY_SHIPPING, (PAY, RESERVE), {PAY: 3}),
            differs={"address": ADDRESS_NOT_SERVED},
            switches=(Switch("payment", "fail_undo", "RefundPayment", times=2),),
        ),
        Story(
            "refund stuck",
            "every refund fails: the saga is parked with an incident, then repaired and retried",
            Expected("failed", _REFUSED_BY_SHIPPING, (PAY, RESERVE), {PAY: 5}, parked=True),
            differs={"address": ADDRESS_NOT_SERVED},
            switches=(Switch("payment", "fail_undo", "RefundPayment"),),
        ),
    )


def excess_replies(stories: Sequence[Story]) -> int:
    """Count the replies that the stories make arrive once more than needed."""
    return sum(
        ((switch.copies or 2) - 1) * story.orders
        for story in stories
        for switch in story.switches
        if switch.kind == "duplicate"
    )
