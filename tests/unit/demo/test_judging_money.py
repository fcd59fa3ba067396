"""Money that is made or lost is noticed, at every look and at the end."""

from __future__ import annotations

from deploy.demo.judging.money import NAMED, Looks, balances_finding


def looks(*each: dict[str, tuple[int, int]]) -> Looks:
    """Give looks in their order."""
    made = Looks()
    for look in each:
        made.add(look)
    return made


def test_money_on_hold_is_still_money() -> None:
    """What is neither on the source nor on the destination counts, and is said to have been seen."""
    said, fine = looks({"EUR": (100, 0)}, {"EUR": (70, 30)}, {"EUR": (100, 0)}).finding()
    assert (said, fine) == (
        "looked at all the money 3 times, 1 times with some of it on hold: always the same sum",
        True,
    )


def test_a_single_wrong_look_is_enough() -> None:
    """Money that was missing for a moment was missing, even if it came back."""
    said, fine = looks({"EUR": (100, 0)}, {"EUR": (70, 29)}, {"EUR": (100, 0)}).finding()
    assert not fine
    assert said.endswith("look 2: 99 EUR, at first 100 EUR")


def test_one_currency_does_not_make_up_for_another() -> None:
    """Sums are compared by currency, and a currency that vanishes is missed."""
    for wrong in (
        {"EUR": (99, 0), "USD": (51, 0)},
        {"EUR": (100, 0)},
        {"EUR": (100, 0), "USD": (50, 0), "XTS": (1, 0)},
    ):
        assert not looks({"EUR": (100, 0), "USD": (50, 0)}, wrong).finding()[1]


def test_many_wrong_looks_are_counted() -> None:
    """A few are named, so that the line stays a line."""
    said, fine = looks({"EUR": (100, 0)}, *[{"EUR": (99, 0)}] * (NAMED + 4)).finding()
    assert not fine
    assert said.count("at first") == NAMED
    assert said.endswith("and 4 more")


def test_balances_must_have_changed_by_what_the_ledger_says() -> None:
    """An account without postings must not have changed at all."""
    before, after = {"ann": 100, "bob": 0, "dan": 7}, {"ann": 70, "bob": 30, "dan": 7}
    assert balances_finding(before, after, {"ann": -30, "bob": 30})[1]
    assert balances_finding(before, after, {"ann": -30, "bob": 20}) == ("bob changed by 30, the ledger says 20", False)
    assert balances_finding(before, {**after, "dan": 8}, {"ann": -30, "bob": 30}) == (
        "dan changed by 1, the ledger says 0",
        False,
    )
