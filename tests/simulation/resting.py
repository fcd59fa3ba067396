"""The invariants of a run that has come to rest: what the tables, Kafka and the participants' ledgers say together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from coordinator.saga.definition import SagaDefinition
from coordinator.saga.model import Outcome, Undo, load_state
from coordinator.services.history import relive
from coordinator.store.reads import LogEntry
from tests.simulation.broker import Broker
from tests.simulation.database import Database, Row
from tests.simulation.participants import Ledgers
from tests.simulation.watching import TERMINAL, VERBS, Watch

LATE_MS = 60_000  # a timer may wait for its partition to be read, and for Kafka to have been back for a while
ACTS = VERBS | {"ExternalCompleted", "ExternalFailed", "ReplayRequested"}


def problems(
    database: Database,
    broker: Broker,
    ledgers: Ledgers,
    watch: Watch,
    definitions: Mapping[int, SagaDefinition],
    acknowledged: Iterable[str],
    seen: Mapping[str, int],
    replies: str,
) -> Iterable[str]:
    """Sentences about what is wrong, each with the invariant's name first."""
    for saga_id in acknowledged:
        if saga_id not in database.sagas:
            yield f"I1 a start that was acknowledged is there: {saga_id}"
    keys = Counter(saga_id for saga_id, _ in database.keys.values())
    for row in database.sagas.values():
        if keys[row.id] != 1:
            yield f"I2 one saga per key: {row.id} has {keys[row.id]}"
        if row.definition_id in definitions:
            yield from _saga(row, database, ledgers, definitions[row.definition_id])
    yield from _messages(database, broker, watch, replies)
    counted = Counter((row.definition_id, row.status) for row in database.sagas.values())
    if +database.tallies != counted:
        yield f"I27 what is counted is what is there: {database.tallies} {counted}"
    yield from _acts(database, seen)


def _messages(database: Database, broker: Broker, watch: Watch, replies: str) -> Iterable[str]:
    for token in database.outbox:
        yield f"I14 everything committed is published: {token} is in the outbox"
    for identity in sorted(watch.committed.keys() - watch.published):
        yield f"I14 everything committed is published: {identity} never was"
    for part, shard in database.shards.items():
        end = len(broker.logs[replies, part])
        if shard.next_offset != end or shard.verdicts != end - shard.first_offset:
            yield f"I16 every record has a verdict: partition {part} ends at {end}: {shard}"


def _acts(database: Database, seen: Mapping[str, int]) -> Iterable[str]:
    logged = Counter(
        (saga_id, entry.version) for saga_id, log in database.log.items() for entry in log if entry.event in ACTS
    )
    audited = Counter((act.saga_id, act.version_after) for act in database.audit)
    pressed = Counter((act.saga_id, act.reason) for act in database.audit if act.reason in seen)
    for (saga_id, reason), acts in pressed.items():
        if acts > 1:
            yield f"I26 pressed twice, done once: {saga_id} {reason}"
    for act in database.audit:
        if act.version_before != seen.get(act.reason, act.version_before):
            yield f"I26 what was looked at is acted on: {act.saga_id} at {act.version_before}, not {seen[act.reason]}"
    if logged != audited:
        yield f"I25 every act is audited: {(logged - audited) + (audited - logged)}"


def _saga(row: Row, database: Database, ledgers: Ledgers, definition: SagaDefinition) -> Iterable[str]:
    is_open = any(one.saga_id == row.id and one.resolved_by is None for one in database.incidents.values())
    due_ms = [step.deadline_ms for step in load_state(row.state).steps if step.deadline_ms is not None]
    if row.status not in (*TERMINAL, "suspended") and due_ms and database.now_ms() - min(due_ms) > LATE_MS:
        yield f"I21 no timer is lost: {row.id} is {row.status}, and was to be looked at at {min(due_ms)}"
    by_person = any(entry.event == "SuspendRequested" for entry in database.log[row.id])
    if row.status not in TERMINAL and not (row.status == "suspended" and (is_open or by_person)):
        yield f"I4 every saga ends, or waits for a person: {row.id} is {row.status}"
    yield from _history(row, database, definition)
    yield from _effects(row, database, ledgers, definition)


def _history(row: Row, database: Database, definition: SagaDefinition) -> Iterable[str]:
    state = load_state(row.state)
    entries = [
        LogEntry(entry.version, "", entry.event, entry.step_name, entry.status, msgspec.Raw(entry.data))
        for entry in database.log[row.id]
    ]
    history = relive(definition, row.id, row.input, entries, state.steps)
    if not history.complete or history.moments[-1].saga.steps != state.steps:
        yield f"I24 the log is the saga: {row.id} at {row.version}, decided again up to {len(history.moments)}"


def _effects(row: Row, database: Database, ledgers: Ledgers, definition: SagaDefinition) -> Iterable[str]:
    """Hold the ledgers against what the saga has come to."""
    state = load_state(row.state)
    told = any(entry.event in ("ResolveRequested", "SkipRequested") for entry in database.log[row.id])
    left = Counter[str]()
    for action in sorted(ledgers.sagas[row.id]):
        deeds = ledgers.deeds[action]
        if deeds.count("done") > 1 or deeds.count("undone") > max(1, deeds.count("done")):
            yield f"I5 once: {action} was {deeds}"
        left[action.split(":")[2]] += "undone" not in deeds
    if told or row.status not in ("completed", "failed"):
        return
    for step, standing in zip(definition.steps, state.steps, strict=True):
        if step.external:
            continue
        if row.status == "completed" and standing.outcome is Outcome.COMPLETED and left[step.name] != 1:
            yield f"I5 a completed saga has every effect once: {row.id} {step.name} {left[step.name]}"
        if row.status == "completed" and standing.outcome not in (Outcome.COMPLETED, Outcome.SKIPPED):
            yield f"I5 a completed saga has every step done: {row.id} {step.name} {standing.outcome}"
        undone = step.compensation is not None or standing.undo is Undo.COMPENSATED
        if row.status == "failed" and undone and left[step.name]:
            yield f"I5 a failed saga has no effect left: {row.id} {step.name}"
