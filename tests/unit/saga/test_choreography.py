"""Choreography definitions: the shipped one, and every way in which one cannot work."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from coordinator.errors import DefinitionError
from coordinator.saga.choreography import ChoreographyDefinition, ExpectedEvent
from coordinator.saga.definition import minutes
from coordinator.saga.model import Facing, SagaStatus
from participants.inventory.handlers import inventory
from participants.notification.handlers import notification
from participants.payment.handlers import payment
from participants.shipping.handlers import shipping
from sagas.order_choreography import order_choreography

DONE = ExpectedEvent("Done", source="b", ends=SagaStatus.COMPLETED)
PARTICIPANTS = {each.name: each for each in (inventory, payment, shipping, notification)}


def event(type_: str, *then: str, **other: Any) -> ExpectedEvent:
    """Make an event that others follow."""
    return ExpectedEvent(**{"type": type_, "source": "a", "then": then, "within": minutes(1), **other})


def define(*events: ExpectedEvent, **other: Any) -> ChoreographyDefinition:
    """Make a definition."""
    return ChoreographyDefinition(**{"name": "Dance", "version": 1, "events": events, **other})


@pytest.mark.parametrize(
    ("events", "other", "sentence"),
    [
        ((event("A", "Done"), DONE), {"name": "dance"}, "the name must be CamelCase"),
        ((event("A", "Done"), DONE), {"version": 0}, "the version must be a whole number"),
        ((event("A", "Done"), DONE), {"version": True}, "the version must be a whole number"),
        ((event("A", "Done"), DONE), {"correlation": "order id"}, "the correlation 'order id' is no field's name"),
        ((), {}, "a choreography has 1 to 64 events"),
        ((event("A", "Done"), event("A", "Done"), DONE), {}, "the event 'A' is named twice"),
        ((event("a", "Done"), DONE), {}, "event 'a': an event's type is CamelCase"),
        ((event("A", "Done", source="A shop"), DONE), {}, "event 'A': 'A shop' is no source's name"),
        ((event("A", "Lost"), DONE), {}, "event 'A': it is followed by 'Lost', which is no event"),
        ((event("A", "Done", "Done"), DONE), {}, "event 'A': it is followed by 'Done' twice"),
        ((event("A"), DONE), {}, "event 'A': something must follow it, or the saga must end with it"),
        ((event("A", "Done", ends=SagaStatus.FAILED), DONE), {}, "event 'A': nothing follows where the saga ends"),
        ((event("A", within=None, ends=SagaStatus.ABANDONED), DONE), {}, "event 'A': a choreography ends completed or"),
        ((event("A", "Done", within=None), DONE), {}, "event 'A': the time until the next event must be more than"),
        ((event("A", "Done", within=timedelta(0)), DONE), {}, "event 'A': the time until the next event must be more"),
        ((event("A", "Done", within=timedelta(days=365)), DONE), {}, "event 'A': the time until the next event must"),
        ((event("A", "Done"), DONE, event("B", "Done")), {}, "event 'B': no way leads to it from 'A'"),
        ((event("A", "B", "Done"), event("B", "A"), DONE), {}, "the events go round in a circle: A, B"),
        ((event("A", "A", "Done"), DONE), {}, "the events go round in a circle: A"),
        ((event("A", "B"), event("B", within=None, ends=SagaStatus.FAILED)), {}, "no way leads to completed"),
    ],
)
def test_an_impossible_definition_is_refused_with_a_sentence(
    events: tuple[ExpectedEvent, ...], other: dict[str, Any], sentence: str
) -> None:
    """What cannot work never comes into being, and the error says why."""
    with pytest.raises(DefinitionError) as refused:
        define(*events, **other)
    assert f"version {other.get('version', 1)}: {sentence}" in str(refused.value)


def test_one_event_that_ends_the_saga_is_enough() -> None:
    """The smallest choreography is an announcement."""
    assert define(DONE).sources == ("b",)


def test_a_saga_walks_back_where_only_failure_can_follow() -> None:
    """Which way an event faces follows from the graph."""
    backward = [e.type for e in order_choreography.events if order_choreography.facing(e.type) is Facing.BACKWARD]
    assert backward == [
        *("ShipmentFailed", "PaymentRefunded", "PaymentFailed", "InventoryReleased", "InventoryRejected", "OrderFailed")
    ]


def test_events_of_two_branches_do_not_belong_to_one_saga() -> None:
    """Two events are ordered when one can come after the other, however much later."""
    ordered = order_choreography.are_ordered
    assert ordered("OrderCreated", "OrderFailed")
    assert ordered("InventoryReleased", "OrderCreated")
    assert ordered("PaymentFailed", "PaymentFailed")
    assert not ordered("PaymentFailed", "PaymentProcessed")
    assert not ordered("OrderFulfilled", "OrderFailed")


def test_the_participants_dance_as_the_choreography_says() -> None:
    """Each arrow of the shipped choreography is a reaction of a sample participant, and none is missing."""
    declared = {
        (each.type, then) for each in order_choreography.events for then in each.then if each.source in PARTICIPANTS
    }
    danced = set()
    for each in order_choreography.events:
        for participant in PARTICIPANTS.values():
            reaction = participant.reaction(each.source, each.type)
            if reaction is not None:
                said = {reaction.emits, reaction.refused}
                assert {order_choreography.by_type[type_].source for type_ in said} == {participant.name}
                danced |= {(each.type, type_) for type_ in said}
    assert danced - declared == {("OrderCreated", "InventoryReserved"), ("OrderCreated", "InventoryRejected")}
    assert declared <= danced
