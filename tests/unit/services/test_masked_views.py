"""Views without what is sensitive: what the commands of a preview carry is masked like any payload."""

from __future__ import annotations

import json

import msgspec

from coordinator.saga.masking import MASK, Masks
from coordinator.saga.model import SagaStatus
from coordinator.services.verbs import PlannedCommand, Preview
from coordinator.services.views import mask_preview
from sagas.order_fulfillment import order_fulfillment


def test_a_preview_shows_no_secrets() -> None:
    """The commands that a verb would send are shown without sensitive fields; the preview itself stays as it is."""
    payload = msgspec.Raw(json.dumps({"order_id": "o-1", "card": {"token": "tok_1"}, "email": "a@b"}).encode())
    command = PlannedCommand("process_payment", "payment", "ProcessPayment", "c", 1, payload)
    preview = Preview("retry", 3, SagaStatus.SUSPENDED, SagaStatus.PENDING, [command], [], [], [])
    [shown] = mask_preview(preview, Masks(order_fulfillment)).commands
    assert json.loads(bytes(shown.payload)) == {"order_id": "o-1", "card": {"token": MASK}, "email": MASK}
    assert b"tok_1" in bytes(preview.commands[0].payload)
