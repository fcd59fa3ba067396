"""Twins whose machine decides wrongly, or whose commands leave wrongly."""

from __future__ import annotations

import re
from typing import Any
from unittest.mock import patch

import msgspec

from coordinator.engine import messages, relay, sweeper, worker
from coordinator.saga import machine, moves, rules
from coordinator.saga.effects import Effect, IssueCommand, Moved
from coordinator.saga.events import StepCompleted, StepFailed
from coordinator.saga.model import Direction, Outcome, SagaStatus, Undo
from coordinator.store import batch
from tests.simulation.mutations import Use, twin

# ---------------------------------------------------------------- the machine


@twin("I6", "I11")
def all_undos_at_once(use: Use) -> None:
    """Compensations are issued together."""

    def go_back(c: Any, steps: Any) -> Moved:
        steps = moves.owing(c.definition, moves._unheld(steps))
        effects: list[Effect] = []
        for place in range(len(steps) - 1, -1, -1):
            if steps[place].undo is Undo.OWED:
                issued = moves.issue_undo(c, steps, place)
                steps, effects = issued.saga.steps, [*effects, *issued.effects]
        waits = any(step.undo in moves.OPEN_UNDOS for step in steps)
        status = SagaStatus.COMPENSATING if waits else SagaStatus.FAILED
        return Moved(moves._moved(c.saga, status, steps, moves.BACKWARD), tuple(effects))

    use(moves, "go_back", go_back)
    use(rules, "go_back", go_back)


@twin("I11")
def undone_in_the_order_of_doing(use: Use) -> None:
    """The first step is undone first."""

    def go_back(c: Any, steps: Any) -> Moved:
        steps = moves.owing(c.definition, moves._unheld(steps))
        for place, step in enumerate(steps):
            if step.undo is Undo.OWED:
                return moves.issue_undo(c, steps, place)
        return Moved(moves._moved(c.saga, SagaStatus.FAILED, steps, moves.BACKWARD))

    use(moves, "go_back", go_back)
    use(rules, "go_back", go_back)


@twin("I5", "I11")
def an_unknown_step_is_not_undone(use: Use) -> None:
    """What timed out is taken for what did not happen."""
    use(moves, "TO_BE_UNDONE", frozenset({Outcome.COMPLETED}))


@twin("I10")
def a_refused_step_is_undone(use: Use) -> None:
    """A refusal is no promise."""
    use(moves, "TO_BE_UNDONE", frozenset({Outcome.COMPLETED, Outcome.UNKNOWN, Outcome.FAILED}))


@twin("I12", "I5", "I4", "I17", "I18")
def a_late_success_revives_the_step(use: Use) -> None:
    """A success that comes while the saga undoes takes it forward again."""

    def revive(c: Any, event: Any) -> Any:
        steps = moves.with_step(c.saga.steps, c.step, rules._completed(c.state, event))
        forward = msgspec.structs.replace(c.saga, facing=moves.FORWARD)
        return moves.go_forward(msgspec.structs.replace(c, saga=forward), steps)

    use(machine, "TRANSITIONS", {**machine.TRANSITIONS, (SagaStatus.COMPENSATING, StepCompleted): revive})


@twin("I3")
def an_ended_saga_turns_back(use: Use) -> None:
    """A participant that takes its word back after the end is believed."""
    use(
        machine,
        "TRANSITIONS",
        {**machine.TRANSITIONS, (SagaStatus.COMPLETED, StepFailed): lambda c, _: moves.cancel(c)},
    )


@twin("I13", "I5", "I11")
def an_undo_is_given_up_and_passed_over(use: Use) -> None:
    """When an undo's budget is spent the saga goes on as if it were done."""

    def go_on(c: Any, why: str) -> Any:
        used = c.state.undo_attempt - c.state.budget_base
        if used < c.definition.steps[c.step].compensation_retry.attempts:
            return moves.back_off_or_park(c, why)
        passed = moves.replace(c.state, undo=Undo.COMPENSATED, deadline_ms=None)
        return moves.go_back(c, moves.with_step(c.saga.steps, c.step, passed))

    use(rules, "back_off_or_park", go_on)


@twin("I7")
def the_second_step_is_asked_for_at_once(use: Use) -> None:
    """A saga does not wait for its first step."""
    begin = machine.begin

    def begin_two(definition: Any, *arguments: Any, **more: Any) -> Moved:
        moved = begin(definition, *arguments, **more)
        if len(definition.stages) < 2 or definition.steps[0].when is not None or not moved.effects:
            return moved
        place = definition.stages[1][0]
        return msgspec.structs.replace(moved, effects=(*moved.effects, IssueCommand(place, Direction.ACTION, 1)))

    use(machine, "begin", begin_two)


# ---------------------------------------------------------------- commands


@twin("I5", "I6")
def each_attempt_has_an_id_of_its_own(use: Use) -> None:
    """A participant cannot tell a second attempt from a second wish."""
    build = messages.CommandBuilder.build

    def other(self: Any, active: Any, saga: Any, effect: Any, now_ms: int) -> Any:
        built = build(self, active, saga, effect, now_ms)
        fresh = f"{built.command_id}-{effect.attempt}"
        payload = built.payload.replace(f'"{built.command_id}"'.encode(), f'"{fresh}"'.encode())
        return msgspec.structs.replace(built, command_id=fresh, payload=payload)

    own_step = machine._own_step

    def any_attempt(definition: Any, saga: Any, reply: Any) -> int:
        meant = re.sub(r"-[0-9]+$", "", reply.command_id)
        return own_step(definition, saga, msgspec.structs.replace(reply, command_id=meant))

    use(messages.CommandBuilder, "build", other)
    use(machine, "_own_step", any_attempt)


@twin("I8")
def another_attempt_says_something_else(use: Use) -> None:
    """What a later attempt carries is worked out anew."""
    build = messages.CommandBuilder.build

    def other(self: Any, active: Any, saga: Any, effect: Any, now_ms: int) -> Any:
        built = build(self, active, saga, effect, now_ms)
        changed = built.payload.replace(b'"key":"k', b'"key":"K') if effect.attempt > 1 else built.payload
        return msgspec.structs.replace(built, payload=changed)

    use(messages.CommandBuilder, "build", other)


@twin("I14")
def published_before_it_is_committed(use: Use) -> None:
    """The dual write."""
    write = worker.BatchWorker._write

    async def eager(self: Any, drafted: Any, tokens: Any) -> Any:
        self._relay.hand_over(drafted.records)
        return await write(self, drafted, tokens)

    use(worker.BatchWorker, "_write", eager)


@twin("I14")
def an_outbox_row_goes_before_its_acknowledgement(use: Use) -> None:
    """A message counts as sent when it is handed over."""
    hand_over = relay.Relay.hand_over

    def forget(self: Any, records: Any) -> None:
        self._acknowledged += [record.token for record in records if isinstance(record.token, batch.Token)]
        hand_over(self, records)

    use(relay.Relay, "hand_over", forget)


@twin("I14", "I4", "I21")
def the_sweeper_keeps_its_place(use: Use) -> None:
    """Ids are taken for the order of commits: a row behind the position is never looked at again."""
    sweep = sweeper.Sweeper.sweep

    async def onward(self: Any, parts: Any, grace_ms: int = sweeper.GRACE_MS, after: Any = sweeper.FIRST) -> Any:
        place = max(after, getattr(self, "place", sweeper.FIRST))
        unsent = self._store.unsent

        async def noted(*arguments: Any) -> Any:
            page = await unsent(*arguments)
            self.place = page[-1].token if page else place
            return page

        with patch.object(self._store, "unsent", noted):
            return await sweep(self, parts, grace_ms, place)

    use(sweeper.Sweeper, "sweep", onward)
