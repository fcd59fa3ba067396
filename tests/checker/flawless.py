"""A run in which everything went as it must, as evidence that tests can spoil."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

from tests.checker.evidence import (
    Act,
    CommandRecord,
    DeadLetterRow,
    Effect,
    Entry,
    Evidence,
    Expected,
    Hold,
    LogEntry,
    Plan,
    PlannedStep,
    SagaRow,
    ShardRow,
)

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
PLAN = Plan(
    "test.",
    (
        PlannedStep("reserve", "inventory", "ReserveItems", "ReleaseReservation"),
        PlannedStep("pay", "payment", "ProcessPayment", "RefundPayment"),
        PlannedStep("ship", "shipping", "CreateShipment", "CancelShipment"),
    ),
    {
        "Trip": (
            PlannedStep("room", "hotel", "BookRoom", "CancelRoom", "bookings"),
            PlannedStep("car", "car", "RentCar", "CancelRental", "bookings"),
            PlannedStep("approve", "", "", ""),
            PlannedStep("bill", "payment", "ProcessPayment", ""),
        )
    },
)
GOOD, UNDONE, PARKED, TRIP, BROKEN_TRIP = "good", "undone", "parked", "trip", "broken-trip"
SECRET = "tok_secret"
EXPECTED = Expected(frozenset({GOOD, UNDONE, PARKED, TRIP, BROKEN_TRIP}), secrets=(SECRET,))


def moment(number: int) -> datetime:
    """Give the nth moment of the run."""
    return BEGAN + timedelta(seconds=number)


def flawless() -> Evidence:
    """Make the evidence of a run with a completed, an undone and a parked saga, and two trips with a group."""
    found = Evidence()
    done = {"outcome": "completed", "attempt": 1}
    taken_back = {**done, "undo": "compensated", "undo_attempt": 1}
    parked = {**done, "undo": "dead_lettered", "undo_attempt": 2}
    add_saga(found, GOOD, "completed", [done, {**done, "attempt": 2}, done], pauses=1)
    add_saga(found, UNDONE, "failed", [taken_back, taken_back, {"outcome": "failed", "attempt": 1}], pauses=0)
    add_saga(
        found, PARKED, "suspended", [done | {"undo": "owed"}, parked, {"outcome": "failed", "attempt": 1}], pauses=1
    )
    found.open_incidents[PARKED] = ["compensation_dead_lettered"]
    do(found, GOOD, ["ReserveItems", "ProcessPayment", "CreateShipment"], [])
    do(found, UNDONE, ["ReserveItems", "ProcessPayment"], ["RefundPayment", "ReleaseReservation"])
    do(found, PARKED, ["ReserveItems", "ProcessPayment"], [])
    add_trips(found, done, taken_back)
    publish(found)
    count(found)
    act(found, PARKED, "suspend")
    record(found, GOOD, 500, "credited")
    record(found, UNDONE, 300, "returned", reverses=True)
    record(found, PARKED, 200, None)
    found.told["coordinator.log"] = "{}\n{}\n"
    found.shards = {0: ShardRow(0, 0, 10, 10), 1: ShardRow(1, 5, 12, 7)}
    found.end_offsets = {0: 10, 1: 12}
    refund = f"{PARKED}:1:pay:compensation"
    found.dead_letters = [
        DeadLetterRow("compensation", "given_up", "test.payment.commands", 0, None, None, PARKED, refund, True, "open"),
        DeadLetterRow("record", "not_json", "test.replies", 0, 3, 4, None, None, True),
    ]
    found.letters = [
        {"saga-dlq-kind": "compensation", "saga-dlq-command-id": refund},
        {
            "saga-dlq-kind": "record",
            "saga-dlq-original-topic": "test.replies",
            "saga-dlq-original-partition": "0",
            "saga-dlq-original-offset": "3",
        },
    ]
    return found


def add_trips(found: Evidence, done: dict[str, object], taken_back: dict[str, object]) -> None:
    """Add a trip that nobody had to approve, and one whose car was not to be had."""
    skipped: dict[str, object] = {"outcome": "skipped"}
    add_saga(found, TRIP, "completed", [done, done, skipped, done], pauses=0, definition="Trip")
    failed: dict[str, object] = {"outcome": "failed", "attempt": 1}
    add_saga(found, BROKEN_TRIP, "failed", [taken_back, failed, {}, {}], pauses=0, definition="Trip")
    do(found, TRIP, ["RentCar", "BookRoom", "ProcessPayment"], [])
    do(found, BROKEN_TRIP, ["BookRoom"], ["CancelRoom"])


def add_saga(
    found: Evidence, name: str, status: str, steps: list[dict[str, object]], *, pauses: int, definition: str = "Order"
) -> None:
    """Add a saga with a log that fits it."""
    saga = SagaRow(name, 0, status, 0, False, f"key-{name}", steps, definition)
    planned = PLAN.steps_of(saga)
    told: list[tuple[str, str | None, str]] = [("SagaStarted", None, "started")]
    told += [("BackoffElapsed", planned[0].name, "pending")] * pauses
    for step, state in zip(planned, steps, strict=True):
        if state.get("outcome") == "completed":
            told.append(("StepCompleted" if step.action else "ExternalCompleted", step.name, "pending"))
        if state.get("outcome") == "failed":
            told.append(("StepFailed", step.name, "compensating"))
    for step, state in reversed(list(zip(planned, steps, strict=True))):
        if state.get("undo") == "compensated":
            told.append(("CompensationCompleted", step.name, "compensating"))
    entries = [LogEntry(name, number, *words, BEGAN) for number, words in enumerate(told, 1)]
    entries[-1].status = status
    saga.version = len(entries)
    found.sagas[name] = saga
    found.log[name] = entries
    found.keys[name] = 1
    found.transitions.update({(name, entry.version): 1 for entry in entries})


def do(found: Evidence, name: str, done: list[str], undone: list[str]) -> None:
    """Add what the participants' tables say."""
    for kind, commands in (("done", done), ("undone", undone)):
        for command in commands:
            effect = Effect("somebody", name, kind, command, f"{name}-{command}", moment(len(found.effects)))
            found.effects.append(effect)


def publish(found: Evidence) -> None:
    """Put the commands that the sagas' states ask for on the topics."""
    found.commands.clear()
    for saga in found.sagas.values():
        actions = list(zip(PLAN.steps_of(saga), saga.steps, strict=True))
        for step, state in actions:
            _publish(found, saga, step, "action", state.get("attempt", 0), step.action)
        for step, state in reversed(actions):
            _publish(found, saga, step, "compensation", state.get("undo_attempt", 0), step.compensation)


def _publish(found: Evidence, saga: SagaRow, step: PlannedStep, direction: str, count: int, name: str) -> None:
    for attempt in range(1, count + 1 if name else 1):
        command_id = f"{saga.id}:1:{step.name}:{direction}"
        identity = f"{command_id}#{attempt}"
        found.published[identity] = 1
        found.published_types[identity] = name
        topic = f"{PLAN.prefix}{step.participant}.commands"
        found.commands.append(
            CommandRecord(
                *(identity, topic, 0, len(found.commands), saga.id, saga.id, saga.definition, step.name, command_id),
                *(attempt, direction, f"payload of {command_id}", f"value of {identity}"),
            )
        )


def count(found: Evidence) -> None:
    """Let the coordinator's own counts be those of the rows."""
    found.tallies = Counter((saga.definition, saga.status) for saga in found.sagas.values())


def log_again(found: Evidence, name: str, event: str, step: str | None, status: str) -> None:
    """Add an entry to a saga's log, with all that belongs to it."""
    saga = found.sagas[name]
    saga.version += 1
    found.log[name].append(LogEntry(name, saga.version, event, step, status, BEGAN))
    found.transitions[name, saga.version] = 1


def act(found: Evidence, name: str, verb: str) -> None:
    """Let a person have done something to a saga that stays as it is."""
    log_again(found, name, f"{verb.capitalize()}Requested", None, found.sagas[name].status)
    found.acts.append(Act(name, verb, found.sagas[name].version))


def record(found: Evidence, name: str, amount: int, ending: str | None, *, reverses: bool = False) -> None:
    """Let money have been held for a saga, and be written down."""
    found.holds.append(Hold(name, amount, ending))
    found.entries.append(Entry(name, amount, False, 0))
    if reverses:
        found.entries.append(Entry(name, amount, True, 0))
