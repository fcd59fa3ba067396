"""Answers from outside through the service: lost, late, said by two at once, and under flow control."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from coordinator.errors import Unavailable
from coordinator.saga import events
from coordinator.saga.events import ExternalCompleted
from coordinator.saga.model import Outcome, load_state
from coordinator.services.sagas import StartRequest
from coordinator.services.verbs import VerbRefused
from coordinator.settings import FlowSettings
from coordinator.store.batch import Batch
from coordinator.store.postgres import Committed, SagaRow
from tests.integration.api.office import Commit, Office

WHO = ("anna", "brings the trip to its approval")
DEAR = 100_000
BOOKED = {
    "book_room": {"room_booking_id": "r-1", "price_cents": DEAR},
    "book_seats": {"ticket_id": "t-1", "price_cents": DEAR},
    "rent_car": {"rental_id": "c-1", "price_cents": DEAR},
}
STEPS = ("book_room", "book_seats", "rent_car", "approve_trip", "take_payment", "send_itinerary")


def yes(who: str) -> ExternalCompleted:
    """Approve the trip."""
    return ExternalCompleted("approve_trip", who, msgspec.Raw(msgspec.json.encode({"approved_by": who})))


async def waiting(office: Office) -> str:
    """Bring a dear trip to where it waits for its approval; answers its id."""
    trip = {
        "booking_id": f"trip-{secrets.token_hex(6)}",
        "traveller": "Ann",
        "traveller_email": "ann@example.com",
        "stay": {"hotel": "hotel-central", "room": "suite", "check_in": "2031-05-02", "nights": 3},
        "passage": {"flight": "SG100", "seats": 2},
        "drive": {"station": "lisbon-airport", "car_class": "compact", "pick_up": "2031-05-02", "days": 4},
        "currency": "EUR",
        "card": {"token": "tok_visa"},
    }
    saga = (await office.service.start(StartRequest("TravelBooking", None, trip))).saga
    saga = await office.service.act(saga.id, saga.version, events.SuspendRequested(*WHO))
    for step, result in BOOKED.items():
        stated = msgspec.Raw(msgspec.json.encode(result))
        verb = events.ResolveRequested(*WHO, step, events.Resolution.COMPLETED, stated)
        saga = await office.service.act(saga.id, saga.version, verb)
    assert (saga.status, await outcome(office, saga.id, "approve_trip")) == ("pending", Outcome.ISSUED)
    return saga.id


async def outcome(office: Office, saga_id: str, step: str) -> Outcome:
    """Read how a step stands."""
    [row] = await office.store.load([saga_id])
    return load_state(row.state).steps[STEPS.index(step)].outcome


async def approver(office: Office, saga_id: str) -> str:
    """Read who has approved a trip."""
    [row] = await office.store.load([saga_id])
    result = load_state(row.state).steps[STEPS.index("approve_trip")].result
    assert isinstance(result, msgspec.Raw)
    return str(msgspec.json.decode(result)["approved_by"])


async def test_an_answer_whose_commit_was_not_heard_of_is_not_refused(office: Office) -> None:
    """The statement committed and the connection broke: whoever answered hears of success, and it counts once."""
    saga_id = await waiting(office)
    left = [1]

    async def lose(commit: Commit, batch: Batch) -> Committed:
        committed = await commit(batch)
        if left and left.pop():
            raise Unavailable("the connection was lost")
        return committed

    office.store.around = lose
    saga = await office.service.answer(saga_id, yes("anna"))
    assert await approver(office, saga_id) == "anna"
    assert [row["rows"] for row in await _answers(office, saga_id)] == [1]
    assert saga.status == "pending"


async def test_an_answer_of_somebody_else_is_not_taken_for_ours(office: Office) -> None:
    """Our connection broke before our answer was written, and another one was faster: we are told so."""
    saga_id = await waiting(office)

    async def overtaken(_commit: Commit, _batch: Batch) -> Committed:
        office.store.around = None
        await office.service.answer(saga_id, yes("bob"))
        raise Unavailable("gone")

    office.store.around = overtaken
    with pytest.raises(VerbRefused, match="step approve_trip does not wait for an answer"):
        await office.service.answer(saga_id, yes("anna"))
    assert await approver(office, saga_id) == "bob"


@pytest.mark.parametrize("verb", [False, True], ids=["answer", "verb"])
async def test_a_statement_that_lands_late_is_no_refusal(
    office: Office, monkeypatch: pytest.MonkeyPatch, verb: bool
) -> None:
    """Given up, looked for in vain, and written just before the next try: it was done, and whoever asked hears that."""
    saga_id = await waiting(office)
    [row] = await office.store.load([saga_id])
    late: list[tuple[Commit, Batch]] = []
    load = office.store.load

    async def break_off(commit: Commit, batch: Batch) -> Committed:
        office.store.around = None
        late.append((commit, batch))
        raise Unavailable("no answer")

    async def land(saga_ids: Any) -> list[SagaRow]:
        looks.append(1)
        # An answer looks for itself in the row first; a verb in the audit log.
        if late and len(looks) > (1 if verb else 2):
            commit, batch = late.pop()
            await commit(batch)
        return await load(saga_ids)

    looks: list[int] = []
    office.store.around = break_off
    monkeypatch.setattr(office.store, "load", land)
    if verb:
        summary = await office.service.act(saga_id, row.version, events.SuspendRequested("anna", "late"))
    else:
        summary = await office.service.answer(saga_id, yes("anna"))
    assert not late
    assert summary.version == row.version + 1


async def test_an_answer_asks_flow_control_as_every_step_does(offices: Callable[..., Any]) -> None:
    """A participant with a limit is its owner's to ask: after an answer over REST its step waits, nothing is sent."""
    async with offices(flow=FlowSettings(participants={"payment": 1})) as office:
        saga_id = await waiting(office)
        await office.service.answer(saga_id, yes("anna"))
        [row] = await office.store.load([saga_id])
        payment = load_state(row.state).steps[STEPS.index("take_payment")]
        assert (payment.outcome, payment.attempt, payment.held) == (Outcome.WAITING, 0, True)
        sent = await office.ask("SELECT 1 FROM outbox WHERE saga_id = $1 AND type = 'ProcessPayment'", saga_id)
        assert sent == []


async def test_a_verb_asks_flow_control_as_every_step_does(offices: Callable[..., Any]) -> None:
    """What an operator's act issues anew waits where its participant has a limit, as the preview has said."""
    async with offices(flow=FlowSettings(participants={"payment": 1})) as office:
        saga_id = await waiting(office)
        [row] = await office.store.load([saga_id])
        suspended = await office.service.act(saga_id, row.version, events.SuspendRequested("anna", "wait"))
        step = STEPS[STEPS.index("take_payment") - 1]
        stated = events.ResolveRequested(
            "anna", "seen", step, events.Resolution.COMPLETED, msgspec.Raw(b'{"approved_by":"anna"}')
        )
        assert (await office.service.preview(saga_id, stated)).commands == []
        await office.service.act(saga_id, suspended.version, stated)
        [row] = await office.store.load([saga_id])
        payment = load_state(row.state).steps[STEPS.index("take_payment")]
        assert (payment.outcome, payment.attempt, payment.held) == (Outcome.WAITING, 0, True)
        sent = await office.ask("SELECT 1 FROM outbox WHERE saga_id = $1 AND type = 'ProcessPayment'", saga_id)
        assert sent == []


async def _answers(office: Office, saga_id: str) -> Any:
    return await office.ask(
        "SELECT count(*) AS rows FROM saga_log WHERE saga_id = $1 AND event = 'ExternalCompleted'", saga_id
    )
