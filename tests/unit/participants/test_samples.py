"""How the samples decide: pure functions over a few rows."""

from __future__ import annotations

import pytest

from participants.inventory.handlers import Item, Line, take
from participants.inventory.handlers import Order as StockOrder
from participants.kit import Refused
from participants.notification.handlers import answer as notice_answer
from participants.payment.handlers import Card, PaymentCard, authorise
from participants.payment.handlers import Order as PaymentOrder
from participants.shipping.handlers import answer as shipment_answer


def order(amount_cents: int, token: str = "tok") -> PaymentOrder:  # noqa: S107
    """Build an order to pay."""
    return PaymentOrder("o", amount_cents, "EUR", PaymentCard(token))


def test_limit_is_spent_in_order_of_arrival() -> None:
    """Of several payments in one batch those that fit under the limit pass, and a small one after a big one may."""
    cards = {"tok": Card("active", 100)}
    codes = [getattr(authorise(order(cents), cards), "code", None) for cents in (60, 50, 40, 1)]
    assert codes == [None, "card_limit", None, "card_limit"]


@pytest.mark.parametrize("status", ["blocked", "expired"])
def test_card_that_is_not_active_is_declined(status: str) -> None:
    """A blocked or expired card pays nothing, not even nothing."""
    refusal = authorise(order(0), {"tok": Card(status, 100)})
    assert isinstance(refusal, Refused)
    assert refusal.code == "card_declined"


def test_all_items_or_none() -> None:
    """An order that lacks one item takes none of the others."""
    free = {"a": 5, "b": 1}
    assert isinstance(take(StockOrder("o", [Item("a", 5), Item("b", 2)]), free), Refused)
    assert free == {"a": 5, "b": 1}


def test_same_sku_twice_counts_twice() -> None:
    """Two lines of one sku are one wish for their sum."""
    free = {"a": 5}
    assert take(StockOrder("o", [Item("a", 2), Item("a", 3)]), free) == [Line("a", 5)]
    assert free == {"a": 0}
    assert isinstance(take(StockOrder("o", [Item("a", 1)]), free), Refused)


@pytest.mark.parametrize(("served", "code"), [(False, "country_not_served"), (None, "country_unknown")])
def test_unserved_countries(served: bool | None, code: str) -> None:
    """A country that is not served and one that nobody has heard of are different refusals."""
    refusal = shipment_answer("shp", "AQ", served)
    assert isinstance(refusal, Refused)
    assert refusal.code == code


def test_blocked_recipient() -> None:
    """A refusal names why the recipient is blocked."""
    refusal = notice_answer("ntc", "a@example.com", "bounced")
    assert isinstance(refusal, Refused)
    assert refusal.code == "recipient_bounced"
