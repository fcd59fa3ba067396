"""Which choreographies a process knows, where it finds them, and which event belongs to which."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coordinator.choreography.choreographies import Choreographies
from coordinator.definitions import load_choreographies
from coordinator.errors import ConfigurationError, DefinitionError
from coordinator.parts import topic_specs
from coordinator.saga.choreography import ChoreographyDefinition, ExpectedEvent
from coordinator.saga.definition import minutes
from coordinator.saga.model import SagaStatus
from coordinator.settings import Settings
from sagas.order_choreography import order_choreography

SECOND = replace(order_choreography, version=2)
OTHER = ChoreographyDefinition(
    "Loyalty",
    1,
    (
        ExpectedEvent("OrderCreated", source="shop", then=("PointsGiven",), within=minutes(1)),
        ExpectedEvent("PointsGiven", source="loyalty", ends=SagaStatus.COMPLETED),
    ),
)


def test_an_event_belongs_to_the_newest_version_of_each_name() -> None:
    """One event may begin sagas of several choreographies, but of one name only one."""
    choreographies = Choreographies((SECOND, OTHER, order_choreography))
    assert choreographies.expecting("shop", "OrderCreated") == [OTHER, SECOND]
    assert choreographies.expecting("eve", "OrderCreated") == []
    assert choreographies.sources == ["inventory", "loyalty", "notification", "payment", "shipping", "shop"]


def test_the_same_version_twice_is_refused() -> None:
    """Nobody could tell which of the two a saga began with."""
    with pytest.raises(DefinitionError, match="OrderChoreography version 1 is defined twice"):
        Choreographies((order_choreography, order_choreography))


def test_a_name_belongs_to_one_kind_of_saga() -> None:
    """A business key is unique per name, so a commanded and an observed saga cannot share one."""
    choreographies = Choreographies((order_choreography,))
    choreographies.check_names(["OrderFulfillment"])
    with pytest.raises(DefinitionError, match="OrderChoreography is the name of a saga definition"):
        choreographies.check_names(["OrderFulfillment", "OrderChoreography"])


def test_a_row_names_its_version() -> None:
    """A saga goes on with the version that its row names; a version that is not here is not guessed."""
    choreographies = Choreographies((order_choreography, SECOND))
    choreographies.bind({("OrderChoreography", 1): 7, ("OrderChoreography", 2): 8, ("OrderChoreography", 3): 9})
    assert (choreographies.of_id(7), choreographies.of_id(8), choreographies.of_id(9)) == (
        order_choreography,
        SECOND,
        None,
    )
    assert choreographies.id_of(SECOND) == 8


def test_settings_name_the_choreographies() -> None:
    """Without the setting there are none; a wrong one is named in the error."""
    assert load_choreographies(None) == ()
    assert load_choreographies("sagas") == (order_choreography,)
    for where in ("sagas:nothing", "no_such_module", "sagas:definitions"):
        with pytest.raises(ConfigurationError, match=f"SAGA_CHOREOGRAPHIES={where}"):
            load_choreographies(where)


def test_sources_have_topics_of_events() -> None:
    """Each source of a choreography gets a topic; without choreographies there are none."""
    plain = {spec.name for spec in topic_specs(Settings(), ["payment"])}
    observed = {spec.name for spec in topic_specs(Settings(), ["payment"], ["payment", "shop"])}
    assert observed - plain == {"saga.payment.events", "saga.shop.events"}
