"""The AsyncAPI document is valid, complete, and agrees with the messages that are really sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator  # type: ignore[import-untyped]

from coordinator.describe.asyncapi import asyncapi, render
from coordinator.describe.examples import REF, example
from coordinator.engine.cache import ActiveSaga
from coordinator.engine.messages import CommandBuilder
from coordinator.engine.registry import Registry
from coordinator.engine.topology import Topology
from coordinator.kafka.records import Outgoing
from coordinator.parts import topic_specs
from coordinator.saga.definition import SagaDefinition, Step
from coordinator.saga.effects import IssueCommand
from coordinator.saga.machine import begin
from coordinator.saga.model import Direction
from coordinator.settings import Settings
from coordinator.store.batch import Token
from sagas import definitions
from tests.unit.describe.holiday import Parcel, holiday, parcels

HERE = Path(__file__).parent
PUBLISHED = HERE.parents[2] / "docs" / "asyncapi.json"
OFFICIAL = Draft7Validator(json.loads((HERE / "asyncapi-3.0.0.json").read_text(encoding="utf-8")))
NOW_MS = 1_795_440_497_196
SAGA_ID = "01932a7c-0000-7000-8000-000000000001"


def topology(given: tuple[SagaDefinition, ...]) -> Topology:
    settings = Settings()
    specs = topic_specs(settings, Registry(given).participants)
    return Topology(settings.topic_prefix, {spec.name: spec.partitions for spec in specs})


def described(given: tuple[SagaDefinition, ...]) -> dict[str, Any]:
    return asyncapi(given, topology(given))


WORLDS = {"shipped": definitions, "holiday": (holiday,), "versions": parcels, "all": (*definitions, holiday, *parcels)}
DOCUMENTS = {name: described(given) for name, given in WORLDS.items()}


def fits(document: dict[str, Any], schema: dict[str, Any], value: Any) -> bool:
    return bool(Draft202012Validator({**schema, "components": document["components"]}).is_valid(value))


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        yield from (child for key, child in node.items() if key == "$ref")
        for child in node.values():
            yield from references(child)
    elif isinstance(node, list):
        for child in node:
            yield from references(child)


def found(document: dict[str, Any], reference: str) -> Any:
    node: Any = document
    for part in reference.removeprefix("#/").split("/"):
        node = node[part]
    return node


def commands(definition: SagaDefinition, given: str) -> Iterator[Outgoing]:
    """Build what a saga sends that has just begun, and what its later steps send where that needs no results."""
    builder = CommandBuilder(topology((definition,)))
    begun = begin(definition, SAGA_ID, now_ms=NOW_MS, input_=given.encode())
    active = ActiveSaga(begun.saga, definition, 1, 11, "key", None, given.encode(), NOW_MS)
    for position, step in enumerate(definition.steps):
        if position not in definition.stages[0] and step.payload is not None:
            continue
        for direction in Direction if step.compensation else (Direction.ACTION,):
            command = builder.build(active, begun.saga, IssueCommand(position, direction, 1), NOW_MS)
            yield builder.record(command, active, Token(SAGA_ID, 1, 0), NOW_MS)


@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)
def test_the_document_is_valid_asyncapi(document: dict[str, Any]) -> None:
    """The official JSON Schema of AsyncAPI 3.0.0 has nothing to say against it, and every reference leads somewhere."""
    assert [f"{'/'.join(map(str, error.path))}: {error.message}" for error in OFFICIAL.iter_errors(document)] == []
    leads = set(references(document))
    assert leads
    assert all(found(document, reference) for reference in leads)


def test_the_official_schema_notices_a_mistake() -> None:
    """The proof above could fail."""
    assert not OFFICIAL.is_valid({**DOCUMENTS["shipped"], "operations": {"send": {"action": "shout"}}})


def test_the_published_document_is_that_of_the_shipped_definitions(rewrite: bool) -> None:
    """docs/asyncapi.json is what `saga definitions asyncapi` prints; `pytest --rewrite` renews it."""
    text = render(DOCUMENTS["shipped"])
    if rewrite:
        PUBLISHED.write_text(text, encoding="utf-8")
    assert PUBLISHED.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)
def test_every_example_fits_its_own_message(document: dict[str, Any]) -> None:
    """Headers and value of each example are what the schemas beside it allow."""
    shown = [
        (name, part, fits(document, message[part], one[part]))
        for name, message in document["components"]["messages"].items()
        for one in message.get("examples", ())
        for part in ("headers", "payload")
    ]
    assert len(shown) > 20
    assert [(name, part) for name, part, fit in shown if not fit] == []


def test_every_message_of_the_shipped_definitions_has_an_example() -> None:
    """Only a dead letter has none, for it can be anything."""
    messages = DOCUMENTS["shipped"]["components"]["messages"]
    assert [name for name, message in messages.items() if "examples" not in message] == ["DeadLetter"]


@pytest.mark.parametrize("definition", [*definitions, holiday, *parcels], ids=lambda one: f"{one.name}{one.version}")
def test_what_the_engine_sends_fits_its_message(definition: SagaDefinition) -> None:
    """Real commands validate, headers and value; with an empty payload they do not, where it is known."""
    document = described((definition,))
    definition = replace(definition, steps=tuple(step for step in definition.steps if not step.external))
    whole = definition.input.model_json_schema(ref_template=REF + "{model}")
    given = json.dumps(example(whole, whole.get("$defs", {})))
    sent = list(commands(definition, given))
    assert sent
    for record in sent:
        headers = {name: value.decode() for name, value in record.headers}
        participant = record.topic.split(".")[1]
        message = document["components"]["messages"][f"{participant}.{headers['ce_type']}"]
        value = json.loads(record.value or b"")
        assert fits(document, message["headers"], headers)
        assert fits(document, message["payload"], value)
        carried = "payload" if value["direction"] == "action" else "original_payload"
        if found(document, message["payload"]["$ref"])["properties"][carried] != {"type": "object"}:
            assert not fits(document, message["payload"], {**value, carried: {}})


def test_a_channel_for_each_topic_with_its_partitions() -> None:
    """Every participant's commands, the replies, the events and the dead letters: as `saga topics` creates them."""
    channels = DOCUMENTS["shipped"]["channels"]
    assert {channel["address"] for channel in channels.values()} == {*topology(definitions).counts, None}
    assert channels["replies"]["bindings"]["kafka"]["partitions"] == 16
    assert set(channels["inventory.commands"]["messages"]) == {"inventory.ReserveItems", "inventory.ReleaseReservation"}
    assert set(channels["events"]["messages"]) == {"SagaTransitioned", "SagaStartRefused"}
    assert {"OrderFulfillment.SagaStartRequested", "SagaTouched"} < set(channels["replies"]["messages"])


def test_both_sides_of_a_command_are_told() -> None:
    """The coordinator sends it, the participant receives it, and the answer goes where the header says."""
    document = DOCUMENTS["shipped"]
    sent = document["operations"]["saga-coordinator.send.payment.ProcessPayment"]
    received = document["operations"]["payment.receive.payment.ProcessPayment"]
    assert (sent["action"], received["action"]) == ("send", "receive")
    assert sent["reply"] == received["reply"]
    assert sent["reply"]["address"]["location"] == "$message.header#/reply-topic"
    assert found(document, sent["reply"]["channel"]["$ref"])["address"] is None
    answers = [found(document, found(document, one["$ref"])["$ref"])["title"] for one in sent["reply"]["messages"]]
    assert answers == ["payment.ProcessPayment.SagaStepCompleted", "SagaStepFailed", "SagaStepProgress"]
    undone = document["operations"]["payment.receive.payment.RefundPayment"]["reply"]["messages"]
    assert [one["$ref"].rpartition("/")[2] for one in undone] == ["SagaCompensationCompleted", "SagaCompensationFailed"]


def test_a_result_is_the_step_s_own() -> None:
    """The success of an action carries the result model of its step, from its own participant."""
    document = DOCUMENTS["shipped"]
    message = document["components"]["messages"]["payment.ProcessPayment.SagaStepCompleted"]
    good = message["examples"][0]
    assert fits(document, message["payload"], good["payload"])
    assert not fits(document, message["payload"], {**good["payload"], "result": {"payment_id": "p"}})
    assert not fits(document, message["headers"], {**good["headers"], "ce_source": "inventory"})


def test_versions_share_a_message_that_takes_the_input_of_either() -> None:
    """A participant cannot tell versions apart, so it must expect both; a start request names one that exists."""
    document = DOCUMENTS["versions"]
    action = document["components"]["messages"]["carrier.Ship"]
    value = action["examples"][0]["payload"]
    light, heavy = {"parcel_id": "p"}, {"parcel_id": "p", "kilos": 3}
    assert [fits(document, action["payload"], {**value, "payload": one}) for one in (light, heavy, {})] == [
        True,
        True,
        False,
    ]
    start = document["components"]["messages"]["Parcel.SagaStartRequested"]["payload"]
    asked = {"definition": "Parcel", "input": light}
    assert [fits(document, start, asked | more) for more in ({}, {"version": 2}, {"version": 3})] == [True, True, False]


def test_payloads_are_as_narrow_as_the_definition_says() -> None:
    """Paths give the fields that they lead to, with their limits; functions give what they say that they return."""
    document = DOCUMENTS["holiday"]
    schemas = document["components"]["schemas"]
    room = {"city": "Ghent", "guest": {"full-name": "Jo"}}
    assert fits(document, schemas["HolidayV2BookHotelPayload"], room)
    assert not fits(document, schemas["HolidayV2BookHotelPayload"], {**room, "city": "x" * 41})
    assert not fits(document, schemas["HolidayV2BookHotelPayload"], {"city": "Ghent", "guest": {"full_name": "Jo"}})
    pay = schemas["message.payment.ProcessPayment"]["properties"]["payload"]
    assert fits(document, pay, {"amount_cents": 1})  # by its field's name, as it is written
    assert not fits(document, pay, {"amountCents": 1})
    assert schemas["message.notification.SendLetter"]["properties"]["payload"] == {"type": "object"}


def test_an_external_step_has_no_command() -> None:
    """Nobody is sent anything, so there is no channel of its own."""
    names = set(DOCUMENTS["holiday"]["channels"])
    assert names == {f"{who}.commands" for who in holiday.participants} | {"replies", "reply", "events", "dlq"}


def test_one_name_as_action_and_as_compensation_gives_two_messages() -> None:
    """What undoes one step may be what another does; neither description is lost."""
    steps = (
        Step("open", participant="door", action="Open", compensation="Close"),
        Step("close", participant="door", action="Close"),
    )
    both = (SagaDefinition("Door", version=1, input=Parcel, business_key="parcel_id", steps=steps),)
    document = described(both)
    assert OFFICIAL.is_valid(document)
    assert set(document["channels"]["door.commands"]["messages"]) == {
        "door.Open",
        "door.Close",
        "door.Close.compensation",
    }
