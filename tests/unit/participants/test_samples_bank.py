"""How accounts, ledger and transfer notices decide: pure functions over a few rows."""

from __future__ import annotations

import pytest

from participants.accounts.handlers import Account, Credit, Debit, Hold, give, take
from participants.kit import Refused, Retry
from participants.ledger.handlers import answer
from participants.notification.handlers import mail_answer


def debit(amount_minor: int, currency: str = "EUR") -> Debit:
    """Build a debit of the account `a`."""
    return Debit("t", "a", amount_minor, currency)


def test_balance_is_spent_in_order_of_arrival() -> None:
    """Of several debits in one batch those that the balance allows pass, and a small one after a big one may."""
    found = {"a": Account("EUR", "open", 100)}
    codes = [getattr(take(debit(amount), found), "code", None) for amount in (60, 50, 40, 1)]
    assert codes == [None, "insufficient_funds", None, "insufficient_funds"]


@pytest.mark.parametrize(
    ("account", "code"),
    [
        (None, "account_unknown"),
        (Account("EUR", "closed", 100), "account_closed"),
        (Account("USD", "open", 100), "currency_mismatch"),
    ],
)
def test_unfit_accounts_neither_pay_nor_are_paid(account: Account | None, code: str) -> None:
    """Source and destination are held to the same rules, and a refusal changes nothing."""
    found = {"a": account} if account is not None else {}
    hold = Hold("s", 10, "EUR", None)
    for refusal in (take(debit(10), found), give(Credit("h", "a"), "s", {"h": hold}, found)):
        assert isinstance(refusal, Refused)
        assert refusal.code == code
    assert hold.ending is None
    assert account is None or account.balance_minor == 100


def test_hold_in_one_batch_is_given_once() -> None:
    """Two credits of one hold in one batch give its amount once."""
    holds, found = {"h": Hold("s", 10, "EUR", None)}, {"a": Account("EUR", "open", 0)}
    assert give(Credit("h", "a"), "s", holds, found) == 10
    refusal = give(Credit("h", "a"), "s", holds, found)
    assert isinstance(refusal, Refused)
    assert refusal.code == "hold_credited"


@pytest.mark.parametrize(("saga_id", "hold_id"), [("s", "other"), ("other", "h")])
def test_hold_of_somebody_else(saga_id: str, hold_id: str) -> None:
    """A hold that is not there and a hold of another saga are the same refusal."""
    found = {"a": Account("EUR", "open", 0)}
    refusal = give(Credit(hold_id, "a"), saga_id, {"h": Hold("s", 10, "EUR", None)}, found)
    assert isinstance(refusal, Refused)
    assert refusal.code == "hold_unknown"


@pytest.mark.parametrize(("status", "code"), [("closed", "book_closed"), (None, "book_unknown")])
def test_books(status: str | None, code: str) -> None:
    """A closed book and one that does not exist are different refusals."""
    refusal = answer("ent", "XTS", status)
    assert isinstance(refusal, Refused)
    assert refusal.code == code


def test_blocked_mail() -> None:
    """A bounce may pass, an unsubscription will not."""
    assert mail_answer("mail", None) == {"mail_id": "mail"}
    assert isinstance(mail_answer("mail", "bounced"), Retry)
    assert isinstance(mail_answer("mail", "unsubscribed"), Refused)
