"""Everything that can happen to sagas of every shape keeps every promise."""

from __future__ import annotations

import time

import pytest

from coordinator.check.search import Search
from coordinator.saga.definition import Retry, SagaDefinition, external, hours, parallel
from coordinator.saga.diagram import arrows
from coordinator.saga.model import Kind
from sagas import definitions
from tests.unit.check.samples import bill, define, is_dear, journey, plain, step, transfer

PIVOT, RETRIABLE = Kind.PIVOT, Kind.RETRIABLE

SHAPES = {
    "one step": plain(1, 2, 2),
    "two steps": plain(2, 2, 2),
    "three steps": plain(3),
    "four steps": plain(4),
    "one that needs no undo": define(step("a"), step("b", compensation=None), step("c")),
    "recovery": define(step("a"), step("b"), recovery=Retry(attempts=1)),
    "a group": define(step("first"), *parallel("g", step("a"), step("b", 2)), step("last")),
    "groups in a row": define(*parallel("g", step("a"), step("b")), *parallel("h", step("c"), step("d"))),
    "a pivot": define(step("a"), step("p", 2, kind=PIVOT), step("z", kind=RETRIABLE), recovery=Retry(attempts=1)),
    "two behind the pivot": define(step("p", kind=PIVOT), *parallel("g", *(step(n, kind=RETRIABLE) for n in "yz"))),
    "a pivot that may be left out": define(step("a"), step("p", kind=PIVOT, when=is_dear), step("z", kind=RETRIABLE)),
    "conditions": define(step("a", when=is_dear), step("b", when=is_dear, payload=bill)),
    "outsiders": define(step("a"), external("yes", timeout=hours(1)), step("b")),
    "outsiders in a group": define(*parallel("g", step("a"), external("yes", timeout=hours(1), when=is_dear))),
    "an outsider behind the pivot": define(
        step("a"), step("p", kind=PIVOT), external("yes", timeout=hours(1), kind=RETRIABLE)
    ),
    "progress": define(step("a", progress_max=hours(1)), step("b")),
    "a deadline": define(step("a"), step("p", kind=PIVOT), step("z", kind=RETRIABLE), deadline=hours(1)),
    "a journey": journey,
    "a transfer": transfer,
}


@pytest.mark.parametrize("definition", SHAPES.values(), ids=SHAPES)
def test_every_promise_holds_in_every_world_that_can_be_reached(definition: SagaDefinition) -> None:
    """Undo in reverse order, all or nothing, nothing revived or undone past the pivot, always a way to an end."""
    search = Search(definition)
    found = search.run()
    assert found is None, found.sentence
    changes = {(old, event, new) for old, event, new in search.machine.arrows if old is not new}
    assert changes <= set(arrows())


@pytest.mark.parametrize("definition", definitions, ids=lambda one: f"{one.name}-{one.version}")
def test_every_promise_holds_for_what_ships(definition: SagaDefinition) -> None:
    """The shipped definitions are searched in every build, each in less than five seconds."""
    started_s = time.process_time()
    assert Search(definition).run() is None
    assert time.process_time() - started_s < 5


class Forgetful(set[tuple[object, ...]]):
    """Remembers nothing."""

    def __contains__(self, _key: object) -> bool:
        return False


@pytest.mark.parametrize("name", ["two steps", "a group", "a pivot that may be left out", "outsiders in a group"])
def test_nothing_is_lost_by_trying_once(name: str) -> None:
    """What changed nothing changes nothing wherever its step, the status and the facing are the same."""
    short, whole = Search(SHAPES[name]), Search(SHAPES[name])
    whole.machine._futile = Forgetful()
    assert short.run() is whole.run() is None
    assert (short.worlds, short.transitions) == (whole.worlds, whole.transitions)
