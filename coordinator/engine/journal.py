"""What the saga log keeps of an event: enough to replay it through `decide()`."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from coordinator.saga.events import Event, Reply, StepCompleted, Timer

_ENCODER = msgspec.json.Encoder()
BEGAN = "SagaStarted"


def entry(event: Event, now_ms: int, roll: float, held: Sequence[str] = ()) -> tuple[str, str | None, bytes]:
    """The log's words for an event: its name, the step it is about, and its data as JSON text.

    `now_ms` and `roll` are the arguments that `decide()` got, `held` the steps that flow control held back. A reply's
    command id and source follow from the saga and its definition and are left out.
    """
    name = type(event).__name__
    if isinstance(event, StepCompleted):
        problem = b"" if event.problem is None else b',"problem":' + _ENCODER.encode(event.problem)
        problem += _held(held)
        data = b'{"now_ms":%d,"attempt":%d%b,"result":%b}' % (now_ms, event.attempt, problem, event.result)
        return name, event.step_name, data
    fields = msgspec.structs.asdict(event)
    if isinstance(event, Reply):
        for implied in ("command_id", "source", "step_name"):
            del fields[implied]
    fields["now_ms"] = now_ms
    fields["roll"] = roll
    if held:
        fields["held"] = held
    step_name = fields.pop("step_name", None) or (event.step_name if isinstance(event, Reply | Timer) else None)
    return name, step_name, _ENCODER.encode(fields)


def began(now_ms: int, starts_ms: int | None, held: Sequence[str] = ()) -> bytes:
    """The data of a saga's first entry; `starts_ms` is when a scheduled one begins, `held` as in `entry`."""
    scheduled = b"" if starts_ms is None else b',"start_at_ms":%d' % starts_ms
    return b'{"now_ms":%d%b%b}' % (now_ms, scheduled, _held(held))


def _held(steps: Sequence[str]) -> bytes:
    return b',"held":' + _ENCODER.encode(steps) if steps else b""
