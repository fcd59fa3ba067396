"""What an act needs to say, and of which sagas somebody may know."""

from __future__ import annotations

from typing import Any, cast

import pytest

from coordinator.api.access import GRANTS, Permission, Principal, Role
from coordinator.api.acts import Act
from coordinator.api.batches import NEEDS
from coordinator.api.documents.verbs import VerbBody
from coordinator.api.problems import RequestRefused
from coordinator.api.scoping import check_known
from coordinator.errors import NotFound
from coordinator.services.batch_operations import FITTING
from coordinator.services.verbs import NAMES
from coordinator.store.reads import SagaReads, SagaSummary

SAGA = SagaSummary("s", "OrderFulfillment", 1, "k", "suspended", 2, "", "", None)


class Shelf:
    """Reads that know one saga."""

    def __init__(self) -> None:
        self.asked = 0

    async def summaries(self, saga_ids: list[str]) -> dict[str, SagaSummary]:
        """The one saga, if it was asked for."""
        self.asked += 1
        return {saga_id: SAGA for saga_id in saga_ids if saga_id == SAGA.id}


async def known(definitions: frozenset[str] | None, saga_id: str) -> int:
    """Ask whether somebody may know of a saga; answers how often it was read."""
    shelf = Shelf()
    await check_known(cast("SagaReads", shelf), Principal("anna", Role.OPERATOR, definitions), saga_id)
    return shelf.asked


async def test_a_foreign_saga_is_as_one_that_does_not_exist() -> None:
    """Somebody who may not know of it hears the same as for an unknown one, and nobody else pays for the question."""
    assert await known(None, "s") == 0
    assert await known(frozenset({"OrderFulfillment"}), "s") == 1
    said: list[Any] = []
    for definitions, saga_id in ((frozenset({"BankTransfer"}), "s"), (frozenset({"OrderFulfillment"}), "t")):
        with pytest.raises(NotFound) as refusal:
            await known(definitions, saga_id)
        said.append(str(refusal.value))
    assert said[0] == said[1]


def test_an_act_without_a_version_is_asked_for_one() -> None:
    """428 says where to name it."""
    with pytest.raises(RequestRefused) as refusal:
        _ = Act(VerbBody(), "why", None, preview=False).version
    assert refusal.value.status_code == 428


def test_every_verb_can_be_done_in_bulk_by_whoever_may_do_it() -> None:
    """Each verb has its permission and its statuses in bulk; operators decide nothing, admins do."""
    assert set(NEEDS) == set(FITTING) == set(NAMES.values())
    decided = {verb for verb, needed in NEEDS.items() if needed is Permission.DECIDE}
    assert decided == {"skip", "resolve", "abandon"}
    assert Permission.DECIDE not in GRANTS[Role.OPERATOR]


def test_whoever_previews_a_verb_may_see_what_it_would_send() -> None:
    """A preview shows payloads as they are: every role that may act or decide sees sensitive fields anyway."""
    acting = {Permission.ACT, Permission.DECIDE}
    assert all(Permission.REVEAL in granted for granted in GRANTS.values() if acting & granted)
