"""Where the demo's coordinator listens, and what it needs for the families that are told."""

from __future__ import annotations

import socket
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from deploy.demo import site
from deploy.demo.families import FAMILIES
from deploy.demo.site import Site
from deploy.demo.stories.bank import bank
from deploy.local.choice import LocalStackError
from deploy.local.processes import free_port

STACK: Any = SimpleNamespace(
    kafka=SimpleNamespace(kind="jvm"),
    postgres=SimpleNamespace(kind="wheel", url=str),
    coordinator_environment=lambda _: {},
)


def test_the_usual_port_is_taken_only_when_it_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """A demo that stays up listens where the README says, unless somebody listens there already."""
    assert site.USUAL_PORT == 8080
    port = free_port()
    monkeypatch.setattr(site, "USUAL_PORT", port)
    assert site.usual_port() == port
    with socket.create_server(("127.0.0.1", port)):
        assert site.usual_port() is None


def test_only_what_the_families_need_is_started() -> None:
    """A family alone has its own participants, topics and definitions."""
    alone = Site(STACK, [bank])
    assert alone.participants == ("accounts", "ledger", "notification")
    assert {name for name in alone.topics if name.endswith(".commands")} == {
        "saga.accounts.commands",
        "saga.ledger.commands",
        "saga.notification.commands",
    }
    assert alone.environment["SAGA_DEFINITIONS"] == "deploy.demo.definitions:bank"


def test_several_families_share_what_they_both_need() -> None:
    """A participant of two families is started once, and the coordinator knows the definitions of all."""
    together = Site(STACK, FAMILIES)
    assert len(together.participants) == len(set(together.participants)) == 9
    assert together.environment["SAGA_DEFINITIONS"] == "deploy.demo.definitions:definitions"


def test_a_family_may_need_topics_and_settings_of_its_own() -> None:
    """Both are there for every process."""
    other = replace(bank, topics=("shop.events",), settings={"SAGA_OTHER": "yes"})
    assert Site(STACK, [other]).topics["saga.shop.events"] == site.EVENTS_PARTITIONS
    assert Site(STACK, [other]).environment["SAGA_OTHER"] == "yes"


def test_a_participant_that_was_sent_away_is_not_missed() -> None:
    """Its process may end; one that ends without having been asked to is still an error, and so is its second one."""
    ended: list[str] = []

    def python(name: str, *_: str, environment: dict[str, str]) -> SimpleNamespace:
        assert environment["SAGA_TOPIC_PREFIX"] == "saga."
        return SimpleNamespace(name=name, exit_code=None, stop=lambda: ended.append(name), log="log", output=str)

    stack: Any = SimpleNamespace(**vars(STACK), processes=SimpleNamespace(python=python))
    place = Site(stack, [bank])
    for name in place.participants:
        place.start_participant(name)
    place.stop_participant("ledger")
    place.check_alive()
    assert ended == ["ledger"]
    again: Any = place.start_participant("ledger")
    place.check_alive()
    again.exit_code = 1
    with pytest.raises(LocalStackError, match="ledger ended with 1"):
        place.check_alive()
