"""What a soak asks for: orders, transfers and trips at random, good and bad, and what shall go wrong with each."""

from __future__ import annotations

import random
import secrets
from dataclasses import dataclass
from typing import Any

from tests.checker.evidence import PlannedStep
from tests.e2e.orders import REFUSED
from tests.soak.definitions import FAMILIES, hasty

HASTY = 0.5
BAD = 0.15  # of the inputs are such that a participant refuses
TROUBLED = 0.35  # of the sagas have a fault of their own


@dataclass(frozen=True)
class Mishap:
    """A fault that shall meet one saga."""

    participant: str
    kind: str
    what: dict[str, Any]


@dataclass(frozen=True)
class Wish:
    """One saga to start; `key` is its business key."""

    definition: str
    key: str
    input: dict[str, Any]
    mishaps: tuple[Mishap, ...]


class Asker:
    """Makes wishes from a number; `run` keeps their keys apart from those of other runs."""

    def __init__(self, number: int, run: str | None = None) -> None:
        self._dice = random.Random(number)
        self._run = secrets.token_hex(3) if run is None else run
        self._count = 0

    def wish(self) -> Wish:
        """Make the next one."""
        self._count += 1
        family = self._dice.choice(sorted(FAMILIES))
        key = f"{family.lower()}-{self._run}-{self._count}"
        is_hasty = self._dice.random() < HASTY
        bad = self._dice.random() < BAD
        made = {"OrderFulfillment": self._order, "BankTransfer": self._transfer, "TravelBooking": self._trip}[family]
        steps = [step for step in FAMILIES[family] if step.action]
        troubled = self._dice.random() < TROUBLED
        count = self._dice.choice((1, 1, 2)) if troubled else 0
        mishaps = tuple(self._mishap(self._dice.choice(steps), key, is_hasty=is_hasty) for _ in range(count))
        return Wish(hasty(family) if is_hasty else family, key, made(key, bad), mishaps)

    def _mishap(self, step: PlannedStep, key: str, *, is_hasty: bool) -> Mishap:
        """Draw a fault of one saga at one step; only impatient sagas meet one that must be waited out."""
        dice = self._dice
        kinds = ["slow", "duplicate", "retry", "refuse"]
        if step.compensation:
            kinds.append("fail_undo")
        if is_hasty:
            kinds += ["silent", "drop", "silent", "drop"]
        kind = dice.choice(kinds)
        command = step.compensation if kind == "fail_undo" else step.action
        if kind in ("silent", "drop") and step.compensation and dice.random() < 0.3:
            command = step.compensation
        # The budgets of sagas as they ship last for minutes: they are never used up here.
        times = dice.choice((1, 1, 2, 4, None) if is_hasty else (1, 1, 2))
        what: dict[str, Any] = {"command": command, "match": key, "times": times}
        if kind == "slow":
            what["seconds"] = round(dice.uniform(0.1, 6.0 if is_hasty else 2.0), 2)
        if kind == "duplicate":
            what["copies"] = dice.choice((2, 3, 10))
        return Mishap(step.participant, kind, what)

    def _order(self, key: str, bad: bool) -> dict[str, Any]:
        good = {
            "order_id": key,
            "customer_id": f"customer-{self._dice.randrange(50)}",
            "email": "ann@example.com",
            "items": [{"sku": self._dice.choice(("sku-book", "sku-lamp")), "quantity": self._dice.randint(1, 3)}],
            "amount_cents": self._dice.randint(1, 9_999),
            "currency": "EUR",
            "card": {"token": "tok_visa"},
            "address": {"country": "DE", "city": "Berlin", "street": "Unter den Linden 1"},
        }
        return good | self._dice.choice(REFUSED) if bad else good

    def _transfer(self, key: str, bad: bool) -> dict[str, Any]:
        accounts = ["acc-ann", "acc-bob"]
        self._dice.shuffle(accounts)
        good = {
            "transfer_id": key,
            "source_account": accounts[0],
            "destination_account": accounts[1],
            "amount_minor": self._dice.randint(1, 99_999),
            "currency": "EUR",
            "source_email": "ann@example.com",
            "destination_email": "bob@example.com",
        }
        wrongs: tuple[dict[str, Any], ...] = (
            {"destination_account": "acc-closed"},
            {"source_account": "acc-poor", "amount_minor": 90_000},
            {"source_account": "acc-test-a", "destination_account": "acc-test-b", "currency": "XTS"},
        )
        return good | self._dice.choice(wrongs) if bad else good

    def _trip(self, key: str, bad: bool) -> dict[str, Any]:
        room = self._dice.choice(("double", "single", "suite"))  # somebody has to approve a suite
        good = {
            "booking_id": key,
            "traveller": "Ann Example",
            "traveller_email": "ann@example.com",
            "stay": {"hotel": "hotel-central", "room": room, "check_in": "2031-05-02", "nights": 3},
            "passage": {"flight": "SG100", "seats": self._dice.randint(1, 3)},
            "drive": {"station": "lisbon-airport", "car_class": "compact", "pick_up": "2031-05-02", "days": 4},
            "currency": "EUR",
            "card": {"token": "tok_visa"},
        }
        wrongs: tuple[dict[str, Any], ...] = (
            {"drive": {"station": "lisbon-airport", "car_class": "van", "pick_up": "2031-05-02", "days": 4}},
            {"passage": {"flight": "SG500", "seats": 1}},
            {"card": {"token": "tok_declined"}},
        )
        return good | self._dice.choice(wrongs) if bad else good
