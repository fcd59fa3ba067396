"""Twins that move sagas without a cause, out of turn or out of time, and those that keep others waiting."""

from __future__ import annotations

from typing import Any

from coordinator.engine import lane, registry, relay, timers, worker
from coordinator.engine.reading import BadArrival
from coordinator.saga import machine, moves, rules
from coordinator.saga.effects import Moved, Stayed, Verdict
from coordinator.saga.events import CompensationFailed, PublicationDelayed, StepCompleted, StepFailed
from coordinator.saga.model import Direction, Outcome, SagaStatus, Undo, command_id, load_state
from coordinator.store import batch
from tests.simulation.mutations import Use, twin

RUNNING = (SagaStatus.STARTED, SagaStatus.PENDING)

# ---------------------------------------------------------------- causes


@twin("I17")
def the_name_of_a_step_is_enough(use: Use) -> None:
    """A reply is taken for the answer to whatever its step was asked."""

    def by_name(definition: Any, saga: Any, reply: Any) -> int:
        place = definition.index.get(reply.step_name, -1)
        return place if place < 0 or reply.source == definition.steps[place].participant else -1

    use(machine, "_own_step", by_name)


@twin("I17")
def anybody_may_answer(use: Use) -> None:
    """It does not matter who says that a step is done."""

    def whoever(definition: Any, saga: Any, reply: Any) -> int:
        place = definition.index.get(reply.step_name, -1)
        state = saga.steps[place]
        own = command_id(saga.id, state.generation, reply.step_name, reply.direction)
        return place if place >= 0 and reply.command_id == own else -1

    use(machine, "_own_step", whoever)


@twin("I17")
def an_answer_counts_as_often_as_it_comes(use: Use) -> None:
    """A second copy of a success is a success."""

    def advance(c: Any, event: Any) -> Any:
        if c.state.outcome is not Outcome.COMPLETED:
            return rules.advance(c, event)
        return Moved(moves.move(c, c.state))

    use(machine, "TRANSITIONS", {**machine.TRANSITIONS, (SagaStatus.PENDING, StepCompleted): advance})


@twin("I9")
def a_saga_goes_on_with_the_newest_version(use: Use) -> None:
    """What a saga began with is forgotten when it is read again."""
    of_id = registry.Registry.of_id

    def newest(self: Any, definition_id: int) -> Any:
        found = of_id(self, definition_id)
        return None if found is None else self.newest(found.name)

    use(registry.Registry, "of_id", newest)


# ---------------------------------------------------------------- turns


@twin("I6")
def a_late_publication_is_a_reason_to_ask_again(use: Use) -> None:
    """The next attempt is sent although the one before has not ended."""

    def again(c: Any, event: Any) -> Any:
        if event.direction is not Direction.ACTION or c.state.outcome is not Outcome.ISSUED:
            return rules.postpone(c, event)
        return moves.reissue_action(c, c.saga.steps, c.step)

    use(machine, "TRANSITIONS", {**machine.TRANSITIONS, **{(status, PublicationDelayed): again for status in RUNNING}})


@twin("I13", "I11")
def an_undo_that_failed_is_forgiven(use: Use) -> None:
    """What could not be undone counts as undone."""

    def forgive(c: Any, event: Any) -> Any:
        if c.state.undo is not Undo.ISSUED or event.attempt != c.state.undo_attempt:
            return Stayed(Verdict.STALE, "over")
        forgiven = moves.replace(c.state, undo=Undo.COMPENSATED, deadline_ms=None)
        return moves.go_back(c, moves.with_step(c.saga.steps, c.step, forgiven))

    use(machine, "TRANSITIONS", {**machine.TRANSITIONS, (SagaStatus.COMPENSATING, CompensationFailed): forgive})


@twin("I18")
def a_late_success_is_a_reason_to_hurry(use: Use) -> None:
    """A step of which nobody knew whether it was done is done after all, and its undo counts as acknowledged."""

    def hurry(c: Any, event: Any) -> Any:
        if c.state.outcome is not Outcome.UNKNOWN or c.state.late_success:
            return rules.late_success(c, event)
        noted = moves.replace(c.state, late_success=True, undo=Undo.COMPENSATED, deadline_ms=None)
        return moves.go_back(c, moves.with_step(c.saga.steps, c.step, noted))

    use(machine, "TRANSITIONS", {**machine.TRANSITIONS, (SagaStatus.COMPENSATING, StepCompleted): hurry})


@twin("I22")
def a_failure_counts_after_its_attempt(use: Use) -> None:
    """A retryable failure uses the budget, whichever attempt it is of, and although its time is over."""

    def turn_back(c: Any, event: Any) -> Any:
        if event.error.retryable and c.state.outcome in moves.OPEN_OUTCOMES:
            return moves.back_off_or_give_up(c)
        return rules.turn_back(c, event)

    use(machine, "TRANSITIONS", {**machine.TRANSITIONS, **{(status, StepFailed): turn_back for status in RUNNING}})


@twin("I22")
def a_deadline_does_not_wait_for_what_is_there(use: Use) -> None:
    """A timer fires although answers lie in the partition that nobody has read yet."""
    use(timers.Gate, "open_for", lambda self, owned, due_ms: True)


@twin("I15")
def what_leaves_together_leaves_in_any_order(use: Use) -> None:
    """The relay hands its messages over from behind."""
    publish = lane.Lane._publish

    async def backwards(self: Any, groups: Any) -> None:
        await publish(self, [(list(reversed(records)), context) for records, context in reversed(groups)])

    use(lane.Lane, "_publish", backwards)


@twin("I15", "I14")
def nobody_looks_whether_a_command_has_left(use: Use) -> None:
    """The next attempt is decided while the one before waits in our own outbox."""

    async def fire(self: Any, ready: Any) -> None:
        await self._fire_group(ready, self._decide_timers, sent=False)

    use(worker.BatchWorker, "_fire", fire)


# ---------------------------------------------------------------- time


@twin("I21")
def a_deadline_comes_a_little_early(use: Use) -> None:
    """A timer need not be due to happen."""
    due, due_ms = machine.due, timers.Gate.due_ms
    use(machine, "due", lambda definition, saga, *, now_ms: due(definition, saga, now_ms=now_ms + 400))
    use(timers.Gate, "due_ms", lambda self, active, deadline_ms: due_ms(self, active, deadline_ms) - 400)


@twin("I21")
def only_memory_knows_of_a_pause(use: Use) -> None:
    """When a saga wants attention is not written down where it rests between two attempts."""
    move = batch.Batch.move

    def forgetful(self: Any, *row: Any) -> None:
        saga_id, version, following, status, state, deadline_ms, *rest = row
        pauses = any(step.outcome is Outcome.BACKING_OFF for step in load_state(state).steps)
        move(self, saga_id, version, following, status, state, None if pauses else deadline_ms, *rest)

    use(batch.Batch, "move", forgetful)


# ---------------------------------------------------------------- those behind


@twin("I19")
def what_cannot_be_read_is_looked_at_for_long(use: Use) -> None:
    """A record that nobody understands holds up those behind it."""
    settle = worker.BatchWorker._settle

    async def slowly(self: Any, arrivals: Any, marks: Any, decided: Any = None) -> None:
        if any(isinstance(arrival, BadArrival) for arrival in arrivals):
            await self._decider.clock.sleep(6)
        await settle(self, arrivals, marks, decided)

    use(worker.BatchWorker, "_settle", slowly)


@twin("I30")
def what_has_failed_stays_in_hand(use: Use) -> None:
    """The relay remembers for ever what Kafka did not acknowledge."""
    heard = relay.Relay._heard

    def leaking(self: Any, numbers: Any, result: Any) -> None:
        failed = len(result.failed)
        heard(self, numbers, result)
        self.in_flight += failed

    use(relay.Relay, "_heard", leaking)
