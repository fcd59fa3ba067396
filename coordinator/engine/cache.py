"""The sagas in progress whose partitions we own, as memory holds them.

A cache entry is only ever as good as its version: the batch statement refuses a stale one, and then it is thrown
away and read again.
"""

from __future__ import annotations

from coordinator.engine.registry import Registry
from coordinator.saga.definition import SagaDefinition
from coordinator.saga.model import RESTING, Saga, SagaStatus, load_state
from coordinator.store.postgres import SagaRow

ENTRIES_MAX = 200_000  # about 2 KB each; beyond it the oldest entries go, they can be read again


class ActiveSaga:
    """A saga with what belongs to it and never changes.

    `key` is the id as Kafka's keys carry it. `first_issued` says for (step, whether it is undone) since when it is
    asked for, as far as that is not told by its state: with a second attempt.
    """

    __slots__ = (
        "business_key",
        "definition",
        "definition_id",
        "first_issued",
        "id",
        "input",
        "key",
        "part",
        "saga",
        "started_ms",
        "traceparent",
    )

    def __init__(
        self,
        saga: Saga,
        definition: SagaDefinition,
        definition_id: int,
        part: int,
        business_key: str,
        traceparent: str | None,
        input_: bytes,
        started_ms: int,
    ) -> None:
        self.id = saga.id
        self.key = saga.id.encode()
        self.saga = saga
        self.definition = definition
        self.definition_id = definition_id
        self.part = part
        self.business_key = business_key
        self.traceparent = traceparent
        self.input = input_
        self.started_ms = started_ms
        self.first_issued: dict[tuple[int, bool], int] | None = None


def from_row(row: SagaRow, registry: Registry) -> ActiveSaga | None:
    """Read a saga row, or None when this process does not know its definition."""
    definition = registry.of_id(row.definition_id)
    if definition is None:
        return None
    state = load_state(row.state)
    saga = Saga(
        row.id,
        definition.name,
        definition.version,
        SagaStatus(row.status),
        row.version,
        state.steps,
        state.facing,
        row.input,
        state.starts_ms,
        state.expires_ms,
    )
    return ActiveSaga(
        saga,
        definition,
        row.definition_id,
        row.part,
        row.business_key,
        row.traceparent,
        row.input,
        row.created_ms,
    )


class SagaCache:
    """Active sagas by id."""

    def __init__(self) -> None:
        self._sagas: dict[str, ActiveSaga] = {}

    def __len__(self) -> int:
        return len(self._sagas)

    def all(self) -> list[ActiveSaga]:
        """Every entry as of now."""
        return list(self._sagas.values())

    def get(self, saga_id: str) -> ActiveSaga | None:
        """The entry of a saga, if there is one."""
        return self._sagas.get(saga_id)

    def put(self, active: ActiveSaga) -> None:
        """Keep a saga that is in progress.

        One that rests leaves: a suspended saga goes on when somebody else writes its row, and we may not hear of it.
        """
        if active.saga.status in RESTING:
            self._sagas.pop(active.id, None)
            return
        if len(self._sagas) >= ENTRIES_MAX:
            del self._sagas[next(iter(self._sagas))]
        self._sagas[active.id] = active

    def evict(self, saga_id: str) -> None:
        """Forget a saga."""
        self._sagas.pop(saga_id, None)

    def evict_parts(self, parts: set[int]) -> None:
        """Forget the sagas of partitions."""
        self._sagas = {known: active for known, active in self._sagas.items() if active.part not in parts}
