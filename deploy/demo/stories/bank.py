"""Transfers: money that moves, money that comes back, and a notice that is sent sooner or later.

Before the credit everything can be undone; behind it the saga only goes forward. Whatever happens, no cent is made or
lost, which somebody watches all the time.
"""

from __future__ import annotations

from typing import Any, Final

from deploy.demo.definitions import RETRY, bank_transfer
from deploy.demo.stories import tables
from deploy.demo.stories.model import (
    DONE,
    REFUSED,
    UNKNOWN,
    Expected,
    Family,
    Line,
    Parking,
    Request,
    Story,
    Stuck,
    Switch,
    commands_of,
)
from deploy.demo.watching import MoneyWatch

STEPS: Final = tuple(step.name for step in bank_transfer.steps)
DEBIT, RECORD, CREDIT, NOTICE = STEPS
BOUNCES: Final = Switch("notification", "retry", "SendTransferNotice", code="recipient_bounced")

_COMPLETED: Final = dict.fromkeys(STEPS, DONE)


def transfer_request(story: Story, number: int) -> Request:
    """Write a transfer; the good ones go both ways and differ in their amounts."""
    there = number % 2 == 1
    source, destination = ("ann", "bob") if there else ("bob", "ann")
    good: dict[str, Any] = {
        "transfer_id": f"{story.word}-{number:03d}",
        "source_account": f"acc-{source}",
        "destination_account": f"acc-{destination}",
        "amount_minor": 1_250 + 375 * number,
        "currency": "EUR",
        "source_email": f"{source}@example.org",
        "destination_email": f"{destination}@example.org",
    }
    wanted = good | dict(story.differs)
    amount = wanted["amount_minor"]
    return Request(story, wanted["transfer_id"], wanted, {DEBIT: amount, RECORD: amount, CREDIT: amount, NOTICE: 1})


def bank_stories(good: int) -> tuple[Story, ...]:
    """List the stories, the plain ones first."""
    return (
        Story("good transfer", "debit, entry, credit, notice", Expected("completed", _COMPLETED), requests=good),
        Story(
            "source too poor",
            "refused at the debit: nothing was done, nothing is undone",
            Expected("failed", {DEBIT: REFUSED}),
            differs={"source_account": "acc-poor", "amount_minor": 90_000},
        ),
        Story(
            "ledger book closed",
            "nobody records this currency: the money returns to its source",
            Expected("failed", {DEBIT: DONE, RECORD: REFUSED}, (DEBIT,)),
            differs={"source_account": "acc-test-a", "destination_account": "acc-test-b", "currency": "XTS"},
        ),
        Story(
            "destination closed",
            "refused at the pivot: the entry is voided, then the money returns to its source",
            Expected("failed", {DEBIT: DONE, RECORD: DONE, CREDIT: REFUSED}, (RECORD, DEBIT)),
            differs={"destination_account": "acc-closed"},
        ),
        Story(
            "silent debit",
            "the money is held but nobody says so: the step is unknown, and undone",
            Expected("failed", {DEBIT: UNKNOWN}, (DEBIT,), attempts={DEBIT: RETRY.attempts}),
            switches=(Switch("accounts", "silent", "DebitAccount"),),
        ),
        Story(
            "notice bounces",
            "past the pivot nothing is undone: dead letter, one more try by recovery, which succeeds",
            Expected("completed", _COMPLETED, attempts={NOTICE: RETRY.attempts + 1}, letters=(NOTICE,)),
            switches=(
                Switch(BOUNCES.participant, BOUNCES.kind, BOUNCES.command, code=BOUNCES.code, times=RETRY.attempts),
            ),
        ),
        Story(
            "mailbox full",
            "recovery does not help either: parked with an incident, then the mailbox is back and it is retried",
            Expected(
                "completed",
                _COMPLETED,
                attempts={NOTICE: RETRY.attempts + 2},
                letters=(NOTICE,),
                parked=Parking("retries_exhausted", NOTICE),
            ),
            switches=(BOUNCES,),
        ),
    )


bank: Final = Family(
    name="bank",
    thing="transfer",
    definition=bank_transfer.name,
    key=bank_transfer.business_key,
    steps=STEPS,
    columns=dict(zip(("debit", "ledger", "credit", "notice"), STEPS, strict=True)),
    commands=commands_of(bank_transfer),
    lines={
        DEBIT: Line("source", "held", "returned", tables.HOLDS, decimals=True),
        RECORD: Line("ledger", "recorded", "voided", tables.ENTRIES, decimals=True),
        CREDIT: Line("destination", "credited", "taken back", tables.CREDITS, decimals=True),
        NOTICE: Line("mails", "sent", "withdrawn", tables.MAILS),
    },
    participants=bank_transfer.participants,
    usual=20,
    stories=bank_stories,
    request=transfer_request,
    watch=MoneyWatch,
    stuck=Stuck(
        "a transfer whose notice bounces: the money has moved, and after some seconds the saga is suspended",
        BOUNCES,
        "the mailbox is back",
    ),
)
