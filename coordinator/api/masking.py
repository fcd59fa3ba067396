"""Who sees sensitive fields (docs/adr/0026): what every answer asks that shows an input, a payload or a result."""

from __future__ import annotations

from collections.abc import Iterable

from coordinator.api.access import Permission, Principal
from coordinator.choreography.choreographies import OBSERVED_PART, Choreographies
from coordinator.engine.registry import Registry
from coordinator.saga.choreography import ChoreographyDefinition
from coordinator.saga.definition import SagaDefinition
from coordinator.saga.masking import Masks
from coordinator.store.reads import SagaReads, SagaRecord

AnyDefinition = SagaDefinition | ChoreographyDefinition


def masked_for(principal: Principal, definition: AnyDefinition | None, input_: bytes | None = None) -> Masks | None:
    """What to mask for somebody of a definition's sagas (None: of one that is not known here); None for nothing.

    `input_` is the saga's, where texts about it are shown.
    """
    return None if principal.may(Permission.REVEAL) else Masks(definition, input_)


class Known:
    """The definitions of sagas, commanded and observed, as far as this process knows them."""

    def __init__(self, registry: Registry, choreographies: Choreographies) -> None:
        self._registry = registry
        self._choreographies = choreographies

    def of(self, record: SagaRecord) -> AnyDefinition | None:
        """The definition of a saga."""
        known = self._choreographies if record.part == OBSERVED_PART else self._registry
        return known.of_id(record.definition_id)

    async def masks_of(
        self, principal: Principal, reads: SagaReads, saga_ids: Iterable[str]
    ) -> dict[str, Masks] | None:
        """What to mask for somebody in texts about some sagas, by saga; None for nothing. Raises Unavailable."""
        if principal.may(Permission.REVEAL):
            return None
        wanted = dict.fromkeys(saga_ids, Masks(None))
        for row in await reads.fetch("list_inputs", list(wanted)) if wanted else ():
            known = self._choreographies if row["part"] == OBSERVED_PART else self._registry
            wanted[row["id"]] = Masks(known.of_id(row["definition_id"]), row["input"])
        return wanted

    def named(self, name: str | None) -> AnyDefinition | None:
        """The newest definition of a name that somebody asks for."""
        return None if name is None else self._registry.newest(name)
