"""What a saga's log and its state must say of each other, and of the way that it went."""

from __future__ import annotations

from collections.abc import Iterable

from tests.checker.evidence import Evidence, Expected, LogEntry, Plan, SagaRow

TERMINAL = ("completed", "failed", "abandoned")
RESTING = (*TERMINAL, "suspended")
FORWARD = ("started", "pending", "completed")
OPEN_UNDOS = ("issued", "backing_off", "dead_lettered")

# What the log must have told of a step before its state may say so; a person's word stands for each of them.
TOLD = {
    "completed": ("StepCompleted", "ExternalCompleted", "ResolveRequested"),
    "failed": ("StepFailed", "ExternalFailed", "ResolveRequested"),
    "skipped": (),
    "compensated": ("CompensationCompleted", "ResolveRequested"),
}


def the_log_goes_one_way(found: Evidence, plan: Plan, expected: Expected) -> Iterable[str]:
    """A saga that has turned back never goes forward again, and one that has ended stays as it ended."""
    for saga in found.sagas.values():
        turned: LogEntry | None = None
        ended: LogEntry | None = None
        for entry in found.log.get(saga.id, []):
            if ended is not None and entry.status != ended.status:
                yield f"saga {saga.id} was {ended.status} at {ended.version}, and {entry.status} at {entry.version}"
                break
            if turned is not None and entry.status in FORWARD:
                yield f"saga {saga.id} turned back at {turned.version}, and is {entry.status} at {entry.version}"
                break
            if entry.status in TERMINAL:
                ended = ended or entry
            if entry.status == "compensating":
                turned = turned or entry


def states_are_those_logged(found: Evidence, plan: Plan, expected: Expected) -> Iterable[str]:
    """No step is completed, failed or compensated unless the log has heard so, and its end fits its steps."""
    for saga in found.sagas.values():
        entries = found.log.get(saga.id, [])
        for step, state in zip(plan.steps_of(saga), saga.steps, strict=True):
            heard = {entry.event for entry in entries if entry.step_name == step.name}
            about = f"saga {saga.id} ({saga.status}), {step.name}"
            outcome, undo = state.get("outcome", "waiting"), state.get("undo", "none")
            for word in (outcome, undo):
                if TOLD.get(word) and not heard.intersection(TOLD[word]):
                    yield f"{about}: is {word}, and the log has heard nothing of the kind"
            if undo != "none" and outcome not in ("completed", "unknown") and "ResolveRequested" not in heard:
                yield f"{about}: its undo is {undo} though its outcome is {outcome}"
            yield from _misfits(saga, about, outcome, undo, bool(step.compensation))


def undo_is_one_at_a_time(found: Evidence, plan: Plan, expected: Expected) -> Iterable[str]:
    """Of a resting saga at most one undo is open, and nothing behind it is owed; acknowledgements came in reverse."""
    for saga in found.sagas.values():
        undos = [state.get("undo", "none") for state in saga.steps]
        open_at = [place for place, undo in enumerate(undos) if undo in OPEN_UNDOS]
        if len(open_at) > 1 or (open_at and "owed" in undos[open_at[0] + 1 :]):
            yield f"saga {saga.id}: the undos of its steps are {', '.join(undos)}"
        place = {step.name: number for number, step in enumerate(plan.steps_of(saga))}
        names = [entry.step_name for entry in found.log.get(saga.id, []) if entry.event == "CompensationCompleted"]
        order = list(dict.fromkeys(place[name] for name in names if name in place))
        if order != sorted(order, reverse=True):
            yield f"saga {saga.id}: undone in the order {', '.join(str(name) for name in names)}"


def given_up_is_open_while_it_matters(found: Evidence, plan: Plan, expected: Expected) -> Iterable[str]:
    """What was given up is an open dead letter until its saga has ended; every letter and incident has its saga."""
    for letter in found.dead_letters:
        if letter.kind == "record":
            continue
        saga = found.sagas.get(letter.saga_id or "")
        status = "not there" if saga is None else saga.status
        if saga is None or (letter.state == "open" and status in TERMINAL):
            yield f"the dead letter of {letter.command_id} is {letter.state}, its saga {letter.saga_id} is {status}"
    for saga_id in sorted(found.open_incidents.keys() - found.sagas.keys()):
        yield f"an incident is open on saga {saga_id}, which is not there"


def _misfits(saga: SagaRow, about: str, outcome: str, undo: str, undoable: bool) -> Iterable[str]:
    if saga.status == "completed" and outcome not in ("completed", "skipped"):
        yield f"{about}: is {outcome} in a completed saga"
    if saga.status == "failed":
        if outcome in ("issued", "backing_off") or undo in ("owed", *OPEN_UNDOS):
            yield f"{about}: is {outcome}, its undo {undo}, in a failed saga"
        if undoable and outcome in ("completed", "unknown") and undo != "compensated":
            yield f"{about}: is {outcome} and was not undone, in a failed saga"
