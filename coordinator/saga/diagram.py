"""Print the machine's tables for people: a Mermaid diagram of the statuses and a table of all pairs.

`LEADS_TO` says where each rule can take a saga, `NEVER` where it cannot in one of the statuses in which it is asked.
Both are claims, and the tests hold them to what they observed.
"""

from __future__ import annotations

from typing import Final, get_args

from coordinator.saga import rules, verbs
from coordinator.saga.events import CompensateRequested, Event, ExternalCompleted, StepCompleted
from coordinator.saga.machine import (
    ABANDONED,
    COMPENSATING,
    COMPLETED,
    FAILED,
    IGNORED,
    PENDING,
    SCHEDULED,
    STARTED,
    SUSPENDED,
    TRANSITIONS,
    Rule,
)
from coordinator.saga.model import TERMINAL, SagaStatus

STAYS: Final = None  # the saga changes and its status does not

# fmt: off
LEADS_TO: Final[dict[Rule, tuple[SagaStatus | None, ...]]] = {
    rules.start_now:        (STARTED, COMPLETED, SUSPENDED),
    rules.advance:          (STAYS, PENDING, COMPLETED, SUSPENDED, COMPENSATING, FAILED),
    rules.turn_back:        (STAYS, PENDING, COMPENSATING, FAILED, SUSPENDED),
    rules.refuse_external:  (PENDING, COMPENSATING, FAILED, SUSPENDED),
    rules.extend:           (STAYS,),
    rules.retry_or_give_up: (STAYS, PENDING, COMPENSATING, FAILED, SUSPENDED),
    rules.reissue:          (STAYS,),
    rules.postpone:         (STAYS,),
    rules.run_late:         (STAYS, COMPENSATING, FAILED),
    rules.acknowledge_undo: (STAYS, FAILED),
    rules.fail_undo:        (STAYS, SUSPENDED),
    rules.undo_timed_out:   (STAYS, SUSPENDED),
    rules.late_success:     (STAYS,),
    rules.late_failure:     (),
    rules.late_answer:      (),
    rules.repeated_undo:    (),
    rules.late_undo:        (STAYS,),
    rules.note_success:     (STAYS,),
    rules.note_failure:     (STAYS,),
    rules.note_refusal:     (STAYS,),
    rules.note_undo:        (STAYS,),
    verbs.retry:            (PENDING, COMPENSATING, COMPLETED, FAILED, STAYS),
    verbs.resume:           (PENDING, COMPENSATING, COMPLETED, FAILED, STAYS),
    verbs.skip:             (PENDING, COMPLETED, STAYS),
    verbs.resolve:          (PENDING, COMPENSATING, COMPLETED, FAILED, STAYS),
    verbs.compensate:       (COMPENSATING, FAILED),
    verbs.suspend:          (SUSPENDED,),
    verbs.abandon:          (ABANDONED,),
}

BEGINS: Final = (STARTED, SCHEDULED, COMPLETED, SUSPENDED)

NEVER: Final[dict[tuple[SagaStatus, type], tuple[SagaStatus | None, ...]]] = {
    # A saga that has not begun has done nothing that could be undone.
    (SCHEDULED,    CompensateRequested): (COMPENSATING,),
    # The first answer is heard now; a saga that has turned back has heard one before.
    (STARTED,      StepCompleted):       (STAYS, COMPENSATING, FAILED),
    (STARTED,      ExternalCompleted):   (STAYS, COMPENSATING, FAILED),
    # A saga that turns back waits for nobody outside any more.
    (PENDING,      ExternalCompleted):   (COMPENSATING, FAILED),
    # No step of a completed saga is unknown.
    (COMPLETED,    StepCompleted):       (STAYS,),
}
# fmt: on


def leads_to(status: SagaStatus, event: type) -> tuple[SagaStatus | None, ...]:
    """Where an event can take a saga of a status; STAYS where the saga changes and its status does not."""
    claimed = (STAYS if to is status else to for to in LEADS_TO[TRANSITIONS[status, event]])
    never = NEVER.get((status, event), ())
    return tuple(dict.fromkeys(to for to in claimed if to not in never))


def arrows() -> list[tuple[SagaStatus, str, SagaStatus]]:
    """List every change of status as (from, event, to), in the order of TRANSITIONS."""
    return [
        (status, event.__name__, to)
        for status, event in TRANSITIONS
        for to in leads_to(status, event)
        if to is not STAYS
    ]


def standstills() -> list[tuple[SagaStatus, str]]:
    """List where an event changes a saga and not its status, as (status, event)."""
    return [(status, event.__name__) for status, event in TRANSITIONS if STAYS in leads_to(status, event)]


def mermaid() -> str:
    """Draw the changes of status as a Mermaid state diagram; what keeps a saga where it is has no arrow."""
    labels: dict[tuple[SagaStatus, SagaStatus], list[str]] = {}
    for source, event, to in arrows():
        labels.setdefault((source, to), []).append(event)
    drawn = {status for pair in labels for status in pair}
    return "\n".join(
        [
            "stateDiagram-v2",
            *(f"    [*] --> {status}: begin" for status in BEGINS),
            *(f"    {source} --> {to}: {' / '.join(events)}" for (source, to), events in labels.items()),
            *(f"    {status} --> [*]" for status in SagaStatus if status in TERMINAL & drawn),
        ]
    )


def table() -> str:
    """Write every pair of status and event as a Markdown table, one row per event."""
    lines = [["event", *SagaStatus], ["---"] * (len(SagaStatus) + 1)]
    lines += [[event.__name__, *(_cell(status, event) for status in SagaStatus)] for event in get_args(Event)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def reasons() -> str:
    """List why events are ignored, as Markdown: one line per reason."""
    pairs: dict[str, dict[str, list[str]]] = {}
    for (status, event), reason in IGNORED.items():
        pairs.setdefault(reason, {}).setdefault(status, []).append(event.__name__)
    return "\n".join(
        f"- {reason}: " + "; ".join(f"{status} ({', '.join(events)})" for status, events in where.items())
        for reason, where in pairs.items()
    )


def _cell(status: SagaStatus, event: type) -> str:
    if (status, event) in IGNORED:
        return "ignored"
    if (status, event) not in TRANSITIONS:
        return "refused"
    return ", ".join("stays" if to is STAYS else f"**{to}**" for to in leads_to(status, event)) or "judged"
