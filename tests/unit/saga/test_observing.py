"""What an observed event changes: in order, out of order, twice, against each other, too late, and replayed."""

from __future__ import annotations

import itertools

import pytest

from coordinator.saga.model import Facing, SagaStatus
from coordinator.saga.observing import (
    CONTRADICTION,
    DUPLICATES_NOTED_MAX,
    OVERDUE,
    Change,
    KeptRecord,
    ObservedSaga,
    Place,
    Sighting,
    dump_observed,
    load_observed,
    observe,
    outcome,
    pass_deadline,
    replayed,
    request_replay,
)
from sagas.order_choreography import order_choreography

NOW_MS = 1_700_000_000_000
MINUTE_MS = 60_000
GOOD = ("OrderCreated", "InventoryReserved", "PaymentProcessed", "ShipmentCreated", "OrderFulfilled")
UNSHIPPABLE = (*GOOD[:3], "ShipmentFailed", "PaymentRefunded", "InventoryReleased", "OrderFailed")


class Watcher:
    """A saga as it is observed, event by event."""

    def __init__(self) -> None:
        self.saga: ObservedSaga | None = None
        self.changes: list[Change] = []
        self._offsets = itertools.count()

    def see(self, type_: str, ce_id: str | None = None, offset: int | None = None) -> Change | None:
        """Let an event come."""
        place = Place(f"{order_choreography.by_type[type_].source}.events", 0, offset or next(self._offsets))
        kept = KeptRecord(place, b"o-1", f'{{"said":"{type_}"}}'.encode(), (("ce_type", type_.encode()),))
        sighting = Sighting(type_, ce_id or f"o-1:{type_}", place)
        return self.take(observe(order_choreography, self.saga, sighting, kept, NOW_MS))

    def take(self, change: Change | None) -> Change | None:
        """Let a change happen."""
        if change is not None:
            assert change.saga.version == (1 if self.saga is None else self.saga.version + 1)
            self.saga = change.saga
            self.changes.append(change)
        return change

    @property
    def present(self) -> ObservedSaga:
        """The saga, which there is."""
        assert self.saga is not None
        return self.saga

    def outcomes(self, *types: str) -> list[str]:
        """Say how things stand with events."""
        return [outcome(order_choreography, self.present, type_) for type_ in types]


def watch(*types: str) -> Watcher:
    """Let events come, one after the other."""
    watcher = Watcher()
    for type_ in types:
        watcher.see(type_)
    return watcher


def test_events_in_order_lead_to_completed() -> None:
    """Each event moves the saga, sets the deadline of the next, and needs no note."""
    watcher = watch(*GOOD)
    assert [change.saga.status for change in watcher.changes] == ["started", *["pending"] * 3, "completed"]
    deadlines = [change.saga.state.deadline_ms for change in watcher.changes]
    assert deadlines == [NOW_MS + minutes * MINUTE_MS for minutes in (2, 1, 15, 2)] + [None]
    assert [change.note for change in watcher.changes] == [None] * 5
    assert {change.verdict for change in watcher.changes} == {"applied"}


def test_a_failure_walks_back_to_failed() -> None:
    """From the first event on after which only failure can come the saga is compensating."""
    watcher = watch(*UNSHIPPABLE)
    statuses = [change.saga.status for change in watcher.changes]
    assert statuses == ["started", "pending", "pending", *["compensating"] * 3, "failed"]
    assert watcher.present.state.facing is Facing.BACKWARD


@pytest.mark.parametrize("order", list(itertools.permutations(GOOD)))
def test_any_order_ends_the_same(order: tuple[str, ...]) -> None:
    """The saga stands at the furthest event, whichever came first, and every event is in its log."""
    watcher = watch(*order)
    assert watcher.present.status is SagaStatus.COMPLETED
    assert watcher.present.state.position == "OrderFulfilled"
    assert [change.type for change in watcher.changes] == list(order)
    assert watcher.outcomes(*GOOD) == ["completed"] * 5


def test_out_of_order_is_noted() -> None:
    """An event that was skipped over, or that nothing began, is applied with a note that says so."""
    watcher = watch("InventoryReserved", "ShipmentCreated", "PaymentProcessed")
    assert [change.note for change in watcher.changes] == [
        "out of order: OrderCreated has not been seen",
        "out of order: it does not follow InventoryReserved at once",
        "out of order: a later event was there first",
    ]
    assert watcher.present.state.position == "ShipmentCreated"
    assert watcher.present.state.last.value == b'{"said":"ShipmentCreated"}'


def test_an_end_that_comes_first_ends_the_saga() -> None:
    """Even the last event alone begins a record: it is the record of a saga that has ended."""
    watcher = watch("OrderFailed")
    assert (watcher.present.status, watcher.present.version) == ("failed", 1)
    assert watcher.outcomes("OrderCreated", "PaymentFailed", "OrderFulfilled") == ["unknown", "unknown", "skipped"]


def test_the_same_event_twice_is_a_duplicate() -> None:
    """It is noted, moves nothing, and its deadline stays."""
    watcher = watch("OrderCreated", "InventoryReserved")
    before = watcher.present.state
    change = watcher.see("InventoryReserved")
    assert change is not None
    assert (change.verdict, change.note, change.saga.status) == ("duplicate", None, "pending")
    assert change.saga.state.deadline_ms == before.deadline_ms
    assert [seen.times for seen in change.saga.state.seen] == [1, 2]


def test_the_same_event_under_another_id_is_a_duplicate_with_a_note() -> None:
    """A saga has each of its events once: whoever says it again says nothing new."""
    watcher = watch("OrderCreated")
    change = watcher.see("OrderCreated", ce_id="another")
    assert change is not None
    assert (change.verdict, change.note) == ("duplicate", "under another id: another")


def test_the_same_record_twice_changes_nothing() -> None:
    """A record that is read again, because its offset was not committed, leaves no trace."""
    watcher = Watcher()
    watcher.see("OrderCreated", offset=5)
    assert watcher.see("OrderCreated", offset=5) is None
    assert watcher.see("OrderCreated", offset=9) is not None
    assert watcher.see("OrderCreated", offset=5) is None
    assert watcher.see("OrderCreated", offset=9) is None


def test_duplicates_are_noted_up_to_a_limit() -> None:
    """Who says the same for ever fills no log."""
    watcher = watch("OrderCreated")
    for _ in range(DUPLICATES_NOTED_MAX + 5):
        watcher.see("OrderCreated")
    assert len(watcher.changes) == 1 + DUPLICATES_NOTED_MAX


def test_a_contradiction_moves_nothing_and_asks_for_a_person() -> None:
    """What cannot belong to the same saga is stale: the first event wins; also when the saga has ended."""
    for seen, wrong in ((GOOD[:3], "PaymentFailed"), (GOOD, "InventoryReleased")):
        watcher = watch(*seen)
        before = watcher.present
        change = watcher.see(wrong)
        assert change is not None
        assert change.verdict == "stale"
        assert change.incident is not None
        assert change.incident.reason == CONTRADICTION
        assert wrong in change.incident.detail
        assert (change.saga.status, change.saga.state.position) == (before.status, before.state.position)


def test_a_deadline_suspends_and_says_what_is_missing() -> None:
    """Not before its time, and only once."""
    watcher = watch("OrderCreated", "InventoryReserved")
    assert pass_deadline(order_choreography, watcher.present, NOW_MS + MINUTE_MS - 1) is None
    change = watcher.take(pass_deadline(order_choreography, watcher.present, NOW_MS + MINUTE_MS))
    assert change is not None
    assert change.incident is not None
    assert (change.saga.status, change.incident.reason) == ("suspended", OVERDUE)
    assert "PaymentProcessed of payment or PaymentFailed of payment" in change.incident.detail
    assert pass_deadline(order_choreography, watcher.present, NOW_MS + 2 * MINUTE_MS) is None
    assert pass_deadline(order_choreography, watch(*GOOD).present, NOW_MS + 100 * MINUTE_MS) is None


def test_an_event_after_suspension_resolves_it_and_goes_on() -> None:
    """Only an event that moves the saga on does; a duplicate or an earlier one leaves it parked."""
    watcher = watch("InventoryReserved")
    watcher.take(pass_deadline(order_choreography, watcher.present, NOW_MS + MINUTE_MS))
    for type_ in ("InventoryReserved", "OrderCreated"):
        change = watcher.see(type_)
        assert change is not None
        assert (change.saga.status, change.resolved_by) == ("suspended", None)
    change = watcher.see("PaymentFailed")
    assert change is not None
    assert (change.saga.status, change.resolved_by) == ("compensating", "observer")


def test_a_replay_is_owed_then_done() -> None:
    """The saga goes on at once; the next event has its whole time from the moment of publication on."""
    watcher = watch("OrderCreated", "InventoryReserved")
    watcher.take(pass_deadline(order_choreography, watcher.present, NOW_MS + MINUTE_MS))
    asked_ms = NOW_MS + 5 * MINUTE_MS
    change = watcher.take(request_replay(order_choreography, watcher.present, "ann", asked_ms))
    assert change is not None
    assert (change.saga.status, change.resolved_by) == ("pending", "ann")
    assert (change.saga.state.replay_owed, change.saga.state.deadline_ms) == (True, asked_ms)
    assert change.saga.state.last.place == Place("inventory.events", 0, 1)
    change = watcher.take(replayed(order_choreography, watcher.present, asked_ms + 10))
    assert change is not None
    assert (change.saga.state.replay_owed, change.saga.state.deadline_ms) == (False, asked_ms + 10 + MINUTE_MS)


def test_an_event_that_comes_before_the_replay_makes_it_needless() -> None:
    """What was owed is forgotten when the saga moves on."""
    watcher = watch("OrderCreated")
    watcher.take(pass_deadline(order_choreography, watcher.present, NOW_MS + 2 * MINUTE_MS))
    watcher.take(request_replay(order_choreography, watcher.present, "ann", NOW_MS))
    watcher.see("InventoryReserved")
    assert not watcher.present.state.replay_owed


def test_a_contradiction_stays_open_when_the_saga_goes_on() -> None:
    """Closing the incident of the missing event must not close the other one."""
    watcher = watch(*GOOD[:3], "PaymentFailed")
    watcher.take(pass_deadline(order_choreography, watcher.present, NOW_MS + 15 * MINUTE_MS))
    asked = request_replay(order_choreography, watcher.present, "ann", NOW_MS)
    came = watcher.see("ShipmentCreated")
    for change in (asked, came):
        assert change is not None
        assert change.resolved_by is not None
        assert change.incident is not None
        assert change.incident.reason == CONTRADICTION


def test_outcomes_say_how_things_stand() -> None:
    """Seen is completed, ahead is waiting, beside is skipped, and what was passed unseen is unknown."""
    watcher = watch("OrderCreated", "PaymentProcessed")
    assert watcher.outcomes(*GOOD) == ["completed", "unknown", "completed", "waiting", "waiting"]
    assert watcher.outcomes("PaymentFailed", "InventoryRejected", "ShipmentFailed", "OrderFailed") == [
        *("skipped", "skipped", "waiting", "waiting")
    ]
    watcher = watch("OrderCreated", "InventoryReserved", "PaymentFailed", "InventoryReleased")
    assert watcher.outcomes("PaymentRefunded", "ShipmentFailed", "OrderFailed") == ["skipped", "skipped", "waiting"]


def test_a_record_is_kept_byte_for_byte() -> None:
    """Whatever bytes came, also none, come back from the stored state as they were."""
    place = Place("shop.events", 3, 7)
    for key, value in ((b"\xff\x00", b'{ "a" : 1 }\n'), (None, None)):
        kept = KeptRecord(place, key, value, (("h", b"\xfe"), ("h", None)))
        change = observe(order_choreography, None, Sighting("OrderCreated", "id", place), kept, NOW_MS)
        assert change is not None
        assert load_observed(dump_observed(change.saga.state)) == change.saga.state
        assert change.saga.state.last == kept
