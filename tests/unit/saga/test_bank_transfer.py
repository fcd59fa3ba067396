"""The models of BankTransfer: a strict input, and payloads and results that participants understand."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from pydantic import BaseModel, ValidationError

from participants.accounts.handlers import Credit, Debit
from participants.ledger.handlers import Transfer
from participants.notification.handlers import Transfer as Notice
from sagas import bank_transfer as models

TRANSFER: dict[str, Any] = {
    "transfer_id": "t-1",
    "source_account": "acc-ann",
    "destination_account": "acc-bob",
    "amount_minor": 1_250,
    "currency": "EUR",
    "source_email": "ann@example.org",
    "destination_email": "bob@example.org",
}


def test_a_transfer_is_read_and_written_unchanged() -> None:
    """The input model neither adds, drops nor converts a field."""
    assert models.TransferInput.model_validate(TRANSFER).model_dump() == TRANSFER


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("transfer_id", ""),
        ("transfer_id", 1),
        ("source_account", None),
        ("amount_minor", 0),
        ("amount_minor", -1),
        ("amount_minor", 12.5),
        ("amount_minor", "12"),
        ("amount_minor", True),
        ("amount_minor", 10**12 + 1),
        ("currency", "euro"),
        ("source_email", "nobody"),
        ("reference", "rent"),
    ],
)
def test_a_wrong_transfer_is_refused_before_anything_is_done(field: str, value: object) -> None:
    """No coercion, no unknown fields, limits on everything; the error points at the field."""
    with pytest.raises(ValidationError) as refusal:
        models.TransferInput.model_validate({**TRANSFER, field: value})
    assert refusal.value.errors()[0]["loc"] == (field,)


def test_a_transfer_goes_somewhere_else() -> None:
    """Source and destination are two accounts."""
    with pytest.raises(ValidationError, match="source_account and destination_account are the same"):
        models.TransferInput.model_validate({**TRANSFER, "destination_account": "acc-ann"})


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (models.DebitAccountPayload, Debit),
        (models.RecordTransferPayload, Transfer),
        (models.CreditAccountPayload, Credit),
        (models.SendTransferNoticePayload, Notice),
    ],
)
def test_participants_understand_the_payloads(model: type[BaseModel], shape: type[msgspec.Struct]) -> None:
    """What a payload model lets through is what the participant reads of it."""
    known = {**TRANSFER, "hold_id": "hld_1"}
    payload = model.model_validate({name: known[name] for name in model.model_fields})
    read = msgspec.convert(payload.model_dump(), shape, strict=True)
    assert msgspec.structs.asdict(read).items() <= payload.model_dump().items()
