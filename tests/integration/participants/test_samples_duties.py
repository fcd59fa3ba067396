"""The participants of transfers and trips keep the duties of every participant: repeat, undo, refuse what is undone."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from coordinator.wire.messages import CompensationCompleted, StepCompleted
from sagas import bank_transfer, travel_booking
from tests.integration.participants.office import Office
from tests.integration.participants.plans import NAMES, done, plan, refusal

UNDOABLE = [action for action, (_, compensation) in NAMES.items() if compensation]
RESULTS: dict[str, type[BaseModel]] = {
    "DebitAccount": bank_transfer.DebitAccountResult,
    "RecordTransfer": bank_transfer.RecordTransferResult,
    "SendTransferNotice": bank_transfer.SendTransferNoticeResult,
    "BookRoom": travel_booking.BookRoomResult,
    "BookSeat": travel_booking.BookSeatResult,
    "RentCar": travel_booking.RentCarResult,
    "SendItinerary": travel_booking.SendItineraryResult,
}
BANK = {"DebitAccount", "RecordTransfer", "SendTransferNotice"}


@pytest.fixture
def site(request: pytest.FixtureRequest, action: str) -> Office:
    """Give the office in which an action's participant runs."""
    found: Office = request.getfixturevalue("bank" if action in BANK else "agency")
    return found


@pytest.mark.parametrize("action", RESULTS)
async def test_result_is_what_the_saga_relies_on(site: Office, action: str) -> None:
    """What a participant answers is what the saga's model of its result asks for."""
    RESULTS[action].model_validate(await done(site, plan(action)))


@pytest.mark.parametrize("action", RESULTS)
async def test_repeated_action(site: Office, action: str) -> None:
    """An action that comes again, also while it is being done, has one effect and one answer."""
    one = plan(action)
    for attempt in (1, 2, 3):
        await site.exchange.act(one, attempt)
    results = [
        heard.message.result
        for heard in await site.exchange.replies(one.action_id, 3)
        if isinstance(heard.message, StepCompleted)
    ]
    assert len(results) == 3
    assert all(result == results[0] for result in results)
    assert await site.effects(one) == ["done"]


@pytest.mark.parametrize("action", UNDOABLE)
async def test_undo(site: Office, action: str) -> None:
    """What was done is undone once, however often that is asked for, and both stand in `effects` in that order."""
    one = plan(action)
    result = await done(site, one)
    for attempt in (1, 2):
        await site.exchange.undo(one, attempt, result=result)
    for heard in await site.exchange.replies(one.undo_id, 2):
        assert isinstance(heard.message, CompensationCompleted)
        assert heard.message.effect == "undone"
    query = f"select kind, command, command_id from {one.participant}.effects where saga_id = $1 order by seq"  # noqa: S608
    assert [tuple(row) for row in await site.rows(query, one.saga_id)] == [
        ("done", one.action, one.action_id),
        ("undone", one.compensation, one.undo_id),
    ]


@pytest.mark.parametrize("action", UNDOABLE)
async def test_undo_finds_what_was_done_by_its_result(site: Office, action: str) -> None:
    """An undo whose action the participant no longer remembers is carried out by what the result named."""
    one = plan(action)
    result = await done(site, one)
    await site.rows(f"delete from {one.participant}.kit_command where command_id = $1", one.action_id)  # noqa: S608
    await site.exchange.undo(one, result=result)
    message = (await site.exchange.reply(one.undo_id)).message
    assert isinstance(message, CompensationCompleted)
    assert message.effect == "undone"
    assert await site.effects(one) == ["done", "undone"]


@pytest.mark.parametrize("action", UNDOABLE)
async def test_undo_before_action(site: Office, action: str) -> None:
    """An undo that overtakes its action finds nothing, and the action is refused for good when it comes."""
    one = plan(action)
    await site.exchange.undo(one)
    message = (await site.exchange.reply(one.undo_id)).message
    assert isinstance(message, CompensationCompleted)
    assert message.effect == "nothing_to_undo"
    assert await refusal(site, one) == ("compensated_already", False)
    assert await site.effects(one) == []
