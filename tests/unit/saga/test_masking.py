"""Sensitive fields: what a definition may declare, and what is left of a payload once they are masked."""

from __future__ import annotations

import json
from typing import Annotated, Any

import msgspec
import pytest
from pydantic import BaseModel, Field

from coordinator.errors import DefinitionError
from coordinator.saga.choreography import ChoreographyDefinition
from coordinator.saga.content import content_of
from coordinator.saga.definition import Fields, SagaDefinition, Step, external, hours
from coordinator.saga.masking import MASK, Masks, masked
from coordinator.saga.sensitive import resolved
from sagas import choreographies, definitions


class Passport(BaseModel):
    """A document."""

    number: str
    country: str


class Passenger(BaseModel):
    """Somebody who travels."""

    name: str
    passport: Passport | None = None


class Trip(BaseModel):
    """An input with everything that a path can lead through."""

    trip_id: str
    email: Annotated[str, Field(alias="eMail")]
    passengers: list[Annotated[Passenger, Field()]]
    notes: dict[str, str] = {}
    anything: Any = None
    contact: Passenger | Passport | None = None


class Booked(BaseModel):
    """A result."""

    code: str
    seat: str


class Bill(BaseModel):
    """A payload that a function makes."""

    card: str
    amount: int


class Mail(BaseModel):
    """A payload that paths make."""

    to: str
    codes: str


def bill(trip: Trip, _results: Any) -> Bill:
    """Make a payload."""
    return Bill(card=trip.email, amount=1)


def anything(_trip: Trip, _results: Any) -> dict[str, Any]:
    """Make a payload of which nobody knows the shape."""
    return {}


def trip(*sensitive: str, book: tuple[str, ...] = (), pay: Any = (), sign: tuple[str, ...] = ()) -> SagaDefinition:
    """Make a definition with these sensitive fields."""
    return SagaDefinition(
        "Trip",
        version=1,
        input=Trip,
        business_key="trip_id",
        steps=(
            Step("book", "airline", "Book", "Cancel", result=Booked, sensitive=book),
            Step("pay", "payment", "Pay", "Refund", payload=bill, sensitive=pay),
            Step("tell", "mailer", "Tell", payload=Fields(Mail, {"to": "input.email", "codes": "book.code"})),
            Step("guess", "mailer", "Guess", payload=anything),
            external("sign", timeout=hours(1), sensitive=sign),
        ),
        sensitive=sensitive,
    )


def raw(tree: Any) -> msgspec.Raw:
    """Write JSON."""
    return msgspec.Raw(json.dumps(tree).encode())


def read(text: msgspec.Raw) -> Any:
    """Read JSON."""
    return json.loads(bytes(text))


INPUT = {
    "trip_id": "t-1",
    "eMail": "ann@example.com",
    "passengers": [
        {"name": "Ann", "passport": {"number": "P1", "country": "NL"}},
        {"name": "Bob", "passport": None},
    ],
    "notes": {"allergy": "nuts"},
}


def test_what_is_declared_is_masked_in_its_place() -> None:
    """A masked field keeps its place and loses its value, whatever it was; everything else stays as it is."""
    masks = Masks(trip("email", "passengers.*.passport.number", "notes.*"))
    assert read(masks.input(raw(INPUT))) == {
        "trip_id": "t-1",
        "eMail": MASK,
        "passengers": [
            {"name": "Ann", "passport": {"number": MASK, "country": "NL"}},
            {"name": "Bob", "passport": None},
        ],
        "notes": {"allergy": MASK},
    }


def test_a_whole_object_is_masked_as_one() -> None:
    """A path that ends at an object, a list or null leaves nothing of it, not even its size."""
    masks = Masks(trip("passengers"))
    assert read(masks.input(raw(INPUT)))["passengers"] == MASK
    assert masked({"a": None, "b": [1]}, [resolved(None, "a"), resolved(None, "b")]) == {"a": MASK, "b": MASK}


def test_what_does_not_look_as_declared_is_masked_rather_than_shown() -> None:
    """A text where an object should be is masked, and lists are looked into however deep they are nested."""
    path = resolved(None, "card.token")
    assert masked({"card": "tok_1"}, [path]) == {"card": MASK}
    assert masked({"card": [[{"token": "tok_1"}], "tok_2"]}, [path]) == {"card": [[{"token": MASK}], MASK]}
    assert masked({"items": "x"}, [resolved(None, "items.*.sku")]) == {"items": MASK}


def test_masking_leaves_its_argument_alone() -> None:
    """What is masked for one reader is not masked for the next."""
    tree = {"card": {"token": "tok_1"}}
    masked(tree, [resolved(None, "card.token")])
    assert tree == {"card": {"token": "tok_1"}}


def test_a_payload_takes_after_what_it_is_made_of() -> None:
    """A payload of paths masks what comes from sensitive fields, and one that is the input what the input masks."""
    masks = Masks(trip("email", book=("result.code",), pay=("payload.card",)))
    assert read(masks.payload("book", raw(INPUT)))["eMail"] == MASK
    assert read(masks.payload("tell", raw({"to": "ann@example.com", "codes": "C1"}))) == {"to": MASK, "codes": MASK}
    assert read(masks.payload("pay", raw({"card": "tok_1", "amount": 1}))) == {"card": MASK, "amount": 1}
    assert read(masks.result("book", raw({"code": "C1", "seat": "1A"}))) == {"code": MASK, "seat": "1A"}


def test_what_a_function_makes_of_secrets_is_masked_as_a_whole() -> None:
    """Where nobody says which parts of a made payload are sensitive, all of it is, once anything of the saga is."""
    assert read(Masks(trip("email")).payload("guess", raw({"x": 1}))) == MASK
    assert read(Masks(trip(book=("result.code",))).payload("guess", raw({"x": 1}))) == MASK
    assert read(Masks(trip()).payload("guess", raw({"x": 1}))) == {"x": 1}


def test_members_of_transitions_and_commands_are_masked_by_what_they_are() -> None:
    """Inputs, payloads and results are masked as members of anything; what belongs to no known step is hidden."""
    masks = Masks(trip("email", book=("result.code",), sign=("result.signature",)))
    shown = read(
        masks.fields(
            "book",
            raw(
                {
                    "attempt": 1,
                    "payload": INPUT,
                    "original_payload": INPUT,
                    "result": {"code": "C1", "seat": "1A"},
                    "original_result": None,
                    "input": INPUT,
                }
            ),
        )
    )
    assert shown["attempt"] == 1
    assert [shown[name]["eMail"] for name in ("payload", "original_payload", "input")] == [MASK] * 3
    assert (shown["result"], shown["original_result"]) == ({"code": MASK, "seat": "1A"}, None)
    assert read(masks.fields("nowhere", raw({"result": {"code": "C1"}}))) == {"result": MASK}
    assert read(masks.fields("sign", raw({"result": {"signature": "s", "ok": True}})))["result"]["signature"] == MASK


def test_what_texts_repeat_of_the_input_is_masked() -> None:
    """A message that holds a sensitive value literally loses it; of an unknown definition no text is shown at all."""
    masks = Masks(trip("email", "passengers"), bytes(raw(INPUT)))
    assert masks.text("ann@example.com with P1 of NL: no seat for Ann") == f"{MASK} with P1 of NL: no seat for Ann"
    error = {"code": "full", "message": "ann@example.com waits", "retryable": False}
    assert read(masks.fields("book", raw({"error": error, "attempt": 1}))) == {
        "error": {"code": "full", "message": f"{MASK} waits", "retryable": False},
        "attempt": 1,
    }
    assert Masks(None).text("anything") == MASK
    assert Masks(trip("email")).text("ann@example.com") == "ann@example.com"


def test_of_an_unknown_definition_everything_is_masked() -> None:
    """A process that cannot know what is sensitive shows nothing."""
    masks = Masks(None)
    assert [read(masks.input(raw(INPUT))), read(masks.payload("book", raw(INPUT)))] == [MASK, MASK]
    assert read(masks.fields("book", raw({"now_ms": 1, "result": {"a": 1}}))) == {"now_ms": 1, "result": MASK}


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: trip("mail"), "sensitive: 'mail': Trip has no field 'mail'"),
        (lambda: trip("passengers.name"), "there are many things where 'name' stands"),
        (lambda: trip("passengers.*.age"), "Passenger has no field 'age'"),
        (lambda: trip("email.host"), "there is no 'host' in there"),
        (lambda: trip("passengers..name"), "is no path"),
        (lambda: trip("trip_id"), "is the business key"),
        (lambda: trip(*"ab", book=("code",)), "Trip has no field 'a'"),
        (lambda: trip(book=("code",)), "begins with neither 'result.' nor 'payload.'"),
        (lambda: trip(book=("result.price",)), "Booked has no field 'price'"),
        (lambda: trip(book=("payload.email",)), "the payload is the saga's input"),
        (lambda: trip(pay=("payload.token",)), "Bill has no field 'token'"),
        (lambda: trip(pay="payload.card"), "must be a tuple of paths"),
        (lambda: ChoreographyDefinition("C", 1, choreographies[0].events, sensitive=("order_id",)), "business key"),
        (lambda: ChoreographyDefinition("C", 1, choreographies[0].events, sensitive=("a b",)), "is no path"),
    ],
)
def test_a_path_that_leads_nowhere_is_refused(make: Any, sentence: str) -> None:
    """A misspelt path would show what it was meant to hide, so the definition is refused with what is wrong."""
    with pytest.raises(DefinitionError, match=sentence.replace("(", r"\(")):
        make()


def test_paths_lead_through_all_that_models_are_made_of() -> None:
    """Unions, optional models, annotated items, free keys and fields of any type can be named."""
    trip("contact.name", "contact.number", "passengers.*.passport", "notes.*", "anything.deep.down")


def test_sensitive_fields_do_not_change_a_version() -> None:
    """What is masked can be changed under sagas in flight: it says nothing of what a saga does."""
    assert content_of(trip()).document == content_of(trip("email", book=("result.code",))).document
    [plain] = choreographies
    hiding = ChoreographyDefinition(plain.name, plain.version, plain.events, plain.correlation, ("card.token",))
    assert content_of(plain).document == content_of(hiding).document


def test_the_samples_declare_what_is_sensitive() -> None:
    """The definitions that ship say which of their fields are nobody's business."""
    assert {definition.name: definition.sensitive for definition in definitions} == {
        "OrderFulfillment": ("card.token", "email", "address"),
        "BankTransfer": ("source_account", "destination_account", "source_email", "destination_email"),
        "TravelBooking": ("traveller", "traveller_email", "card.token"),
    }
