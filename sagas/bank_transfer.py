"""BankTransfer: take the money off the source, write the transfer down, put the money on the destination, tell both.

    debit source   record the transfer   credit destination   notify both parties
    DebitAccount   RecordTransfer        CreditAccount        SendTransferNotice
    ReturnDebit    VoidTransfer          (pivot)              (retriable)

Money is never made nor lost: between debit and credit it is in a hold, which is consumed once, forward or backward. The
credit is the point of no return: a destination's owner may spend at once what she has got.

Amounts are integers of the currency's minor unit: cents of a euro, yen of a yen.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from coordinator.saga.definition import Fields, Kind, Retry, SagaDefinition, Step, minutes

Name = Annotated[str, Field(min_length=1, max_length=128)]
Email = Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$", max_length=254)]
Amount = Annotated[int, Field(ge=1, le=10**12)]
Currency = Annotated[str, Field(pattern="^[A-Z]{3}$")]


class _Input(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class _Result(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class TransferInput(_Input):
    """A transfer as the bank's front end sends it; `transfer_id` names it for ever, `currency` is an ISO 4217 code."""

    transfer_id: Name
    source_account: Annotated[Name, Field(examples=["acc-ann"])]
    destination_account: Annotated[Name, Field(examples=["acc-bob"])]
    amount_minor: Amount
    currency: Currency
    source_email: Email
    destination_email: Email

    @model_validator(mode="after")
    def _goes_somewhere_else(self) -> Self:
        if self.source_account == self.destination_account:
            raise ValueError("source_account and destination_account are the same")
        return self


class DebitAccountPayload(_Input):
    """What accounts needs to take the money off the source and hold it."""

    transfer_id: Name
    source_account: Name
    amount_minor: Amount
    currency: Currency


class RecordTransferPayload(_Input):
    """What the ledger needs to write the transfer down."""

    transfer_id: Name
    source_account: Name
    destination_account: Name
    amount_minor: Amount
    currency: Currency


class CreditAccountPayload(_Input):
    """What accounts needs to put the money on the destination: how much it is, and of what, the hold knows."""

    transfer_id: Name
    hold_id: Name
    destination_account: Name


class SendTransferNoticePayload(_Input):
    """What notification needs to tell both parties."""

    transfer_id: Name
    source_email: Email
    destination_email: Email
    amount_minor: Amount
    currency: Currency


class DebitAccountResult(_Result):
    """What accounts answers to a debit: where the money is now."""

    hold_id: Name


class RecordTransferResult(_Result):
    """What the ledger answers."""

    entry_id: Name


class CreditAccountResult(_Result):
    """What accounts answers to a credit: how much the destination got."""

    amount_minor: Amount


class SendTransferNoticeResult(_Result):
    """What notification answers."""

    mail_id: Name


_TRANSFER = {
    "transfer_id": "input.transfer_id",
    "source_account": "input.source_account",
    "amount_minor": "input.amount_minor",
    "currency": "input.currency",
}

bank_transfer = SagaDefinition(
    "BankTransfer",
    version=1,
    input=TransferInput,
    business_key="transfer_id",
    sensitive=("source_account", "destination_account", "source_email", "destination_email"),
    deadline=minutes(30),
    steps=(
        Step(
            "debit_source",
            participant="accounts",
            action="DebitAccount",
            compensation="ReturnDebit",
            payload=Fields(DebitAccountPayload, _TRANSFER),
            result=DebitAccountResult,
        ),
        Step(
            "record_transfer",
            participant="ledger",
            action="RecordTransfer",
            compensation="VoidTransfer",
            payload=Fields(RecordTransferPayload, _TRANSFER | {"destination_account": "input.destination_account"}),
            result=RecordTransferResult,
        ),
        Step(
            "credit_destination",
            participant="accounts",
            action="CreditAccount",
            kind=Kind.PIVOT,
            payload=Fields(
                CreditAccountPayload,
                {
                    "transfer_id": "input.transfer_id",
                    "hold_id": "debit_source.hold_id",
                    "destination_account": "input.destination_account",
                },
            ),
            result=CreditAccountResult,
        ),
        Step(
            "send_notice",
            participant="notification",
            action="SendTransferNotice",
            kind=Kind.RETRIABLE,
            retry=Retry(attempts=5),
            payload=Fields(
                SendTransferNoticePayload,
                {
                    "transfer_id": "input.transfer_id",
                    "source_email": "input.source_email",
                    "destination_email": "input.destination_email",
                    "amount_minor": "credit_destination.amount_minor",
                    "currency": "input.currency",
                },
            ),
            result=SendTransferNoticeResult,
        ),
    ),
)
