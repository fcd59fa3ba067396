"""Which version a new saga begins on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coordinator.engine.registry import Registry, VersionHeld
from coordinator.errors import DefinitionError, InvalidInput
from coordinator.parts import recovery
from coordinator.saga.definition import RECOVERY, Retry, seconds
from coordinator.settings import Settings
from sagas.order_fulfillment import order_fulfillment as first

NAME = first.name
second = replace(first, version=2)
third = replace(first, version=3)
WHY = "one live replica does not know it yet"


def test_new_sagas_begin_on_the_newest_version() -> None:
    """A start that names no version begins on the newest, in whatever order they are listed; any other can be named."""
    registry = Registry((second, first))
    assert registry.choose(NAME, None) is second
    assert registry.choose(NAME, 1) is first


def test_the_settings_say_how_commands_are_recovered_where_the_definition_does_not() -> None:
    """What the settings fill in is no content: another setting is not a changed definition."""
    own = replace(second, recovery=Retry(attempts=1))
    registry = Registry((first, own), Retry(attempts=2))
    assert registry.choose(NAME, 1).redrives.attempts == 2
    assert registry.choose(NAME, 2).redrives.attempts == 1
    assert registry.contents == Registry((first, own)).contents


def test_the_settings_begin_with_the_recovery_that_definitions_know() -> None:
    """The numbers stand in two files, because settings know no definitions: they are the same."""
    assert recovery(Settings()) == RECOVERY


def test_a_version_that_is_held_back_starts_nothing() -> None:
    """While a version is held back, a start without a version takes the newest of the others; naming it is refused."""
    registry = Registry((first, second, third))
    registry.learn({}, {(NAME, 3): WHY})
    assert registry.choose(NAME, None) is second
    with pytest.raises(VersionHeld, match=f"{NAME} version 3 starts no sagas for now: {WHY}") as held:
        registry.choose(NAME, 3)
    assert (held.value.status_code, held.value.kind) == (409, "version-not-ready")
    registry.learn({}, {})
    assert registry.choose(NAME, None) is third


def test_without_any_free_version_nothing_starts() -> None:
    """When every version is held back, a start is refused with the reason of the newest."""
    registry = Registry((first, second))
    registry.learn({}, {(NAME, 1): "another", (NAME, 2): WHY})
    with pytest.raises(VersionHeld, match=f"version 2 .*{WHY}"):
        registry.choose(NAME, None)


def test_what_is_not_known_is_no_conflict() -> None:
    """A version that nobody here knows is refused as wrong input, with what is known."""
    registry = Registry((first,))
    with pytest.raises(InvalidInput, match=rf"there is no definition {NAME} version 2; known are: {NAME} \(1\)"):
        registry.choose(NAME, 2)


def test_two_versions_equal_in_number_but_not_in_content_are_refused() -> None:
    """One number for two contents is refused when definitions are loaded, in a sentence that says what differs."""
    steps = (replace(first.steps[0], timeout=seconds(9)), *first.steps[1:])
    with pytest.raises(DefinitionError) as refused:
        Registry((first, replace(first, steps=steps)))
    assert str(refused.value) == (
        "OrderFulfillment version 1 is defined twice, with two contents: "
        "step reserve_inventory: timeout was 120000 ms, is 9000 ms. Give one of them another version"
    )


def test_a_definition_that_is_listed_twice_is_refused() -> None:
    """The same definition twice is a slip of the pen, and is refused, too."""
    with pytest.raises(DefinitionError, match=f"{NAME} version 1 is defined twice$"):
        Registry((first, replace(first)))


def test_a_version_that_only_others_know_is_not_ready() -> None:
    """A version, or a name, that is new and not known here yet is no mistake of the caller."""
    registry = Registry((first,))
    registry.learn(
        {}, {(NAME, 2): "this process does not know it yet", ("Newcomer", 1): "this process does not know it"}
    )
    with pytest.raises(VersionHeld, match=r"version 2 .* this process does not know it yet"):
        registry.choose(NAME, 2)
    with pytest.raises(VersionHeld, match="Newcomer version 1"):
        registry.choose("Newcomer", None)
    assert registry.choose(NAME, None) is first
