"""What must hold of every decoder: only `Refused` comes out, and what was read can be written and read again."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from coordinator.wire import inbound, rfc3339, strict_json
from coordinator.wire.cloudevents import REPLY_PARTITION, REPLY_TOPIC, Headers, message_headers, open_envelope
from coordinator.wire.strict_json import MAX_VALUE_BYTES, Refused
from tests.prove.kept import Input

_PLACE = re.compile(r"\[[^\]]*\]|[0-9]+")
_PATH_MAX = 60


class Broken(AssertionError):
    """A decoder did with an input what it must never do."""

    def __init__(self, sentence: str, one: Input) -> None:
        self.input = one
        super().__init__(sentence)


def look(one: Input) -> set[str]:
    """Show an input to every decoder; answers their verdicts in short words, and raises Broken."""
    found = set()
    for name, check in _CHECKS.items():
        try:
            found.add(f"{name}: accepted {check(one)}")
        except Refused as refused:
            found.add(f"{name}: {refused.reason} {_PLACE.sub('', refused.path)[:_PATH_MAX]}".rstrip())
        except Broken:
            raise
        except Exception as error:
            raise Broken(f"{name} raised {error!r}", one) from error
    return found


def _json(one: Input) -> str:
    """Both roads of strict JSON give one verdict and one tree, and the tree survives being written."""
    tree, judged = _outcome(strict_json.decode_object, one), _outcome(strict_json.judge_object, one)
    if isinstance(tree, Refused) or isinstance(judged, Refused):
        if type(tree) is not type(judged):
            raise Broken(f"the roads differ: {tree!r} and {judged!r}", one)
        raise tree if isinstance(tree, Refused) else judged
    if repr(tree) != repr(judged):
        raise Broken(f"the roads read {tree!r} and {judged!r}", one)
    written = strict_json.encode(tree)
    if len(written) <= MAX_VALUE_BYTES and repr(strict_json.decode_object(written)) != repr(tree):
        raise Broken(f"{tree!r} is written as {written!r}, which is something else", one)
    return "object" if tree else "nothing"


def _envelope(one: Input) -> str:
    envelope = open_envelope(one.headers, one.value)
    return f"{'structured' if envelope.data_path else 'binary'}{' traced' if envelope.traceparent else ''}"


def _inbound(one: Input) -> str:
    read = inbound.decode_inbound(one.headers, one.key, one.value)
    again = _again(
        one,
        read.message,
        message_headers(read.message.ce_type, read.ce_id, read.source, None, 0, read.traceparent),
        lambda headers, value: inbound.decode_inbound(headers, one.key, value),
    )
    plain = msgspec.structs.replace(read, has_unknown_fields=False)
    if again is not None and repr(again) != repr(plain):
        raise Broken(f"{plain!r} is read again as {again!r}", one)
    more = " with more" if read.has_unknown_fields else ""
    return f"{type(read.message).__name__}{more}{' under a wrong key' if read.wrong_key else ''}"


def _command(one: Input) -> str:
    read = inbound.decode_command(one.headers, one.value)
    headers = [
        *message_headers(read.name, read.ce_id, read.source, None, 0, read.traceparent),
        (REPLY_TOPIC, read.reply_topic.encode()),
        (REPLY_PARTITION, b"%d" % read.reply_partition),
    ]
    again = _again(one, read.command, headers, inbound.decode_command)
    if again is not None and repr(again) != repr(read):
        raise Broken(f"{read!r} is read again as {again!r}", one)
    return type(read.command).__name__


def _event(one: Input) -> str:
    read = inbound.decode_event(one.headers, one.value)
    headers = message_headers(read.ce_type, "id", "saga-coordinator", None, 0)
    again = _again(one, read, headers, inbound.decode_event)
    if again is not None and repr(again) != repr(read):
        raise Broken(f"{read!r} is read again as {again!r}", one)
    return type(read).__name__


def _moment(one: Input) -> str:
    """A moment is read or a ValueError, and what was read is written so that it is read again."""
    text = (one.value or b"").decode("utf-8", "replace")
    try:
        moment_ms = rfc3339.parse_ms(text)
    except ValueError:
        return "nothing"
    if rfc3339.parse_ms(rfc3339.format_ms(moment_ms)) != moment_ms:
        raise Broken(f"the moment {text!r} is {moment_ms}, which is written otherwise", one)
    return "a moment"


def _outcome(decode: Callable[[bytes | None], Any], one: Input) -> Any:
    try:
        return decode(one.value)
    except Refused as refused:
        return refused


def _again(one: Input, message: Any, headers: Headers, decode: Callable[[Headers, bytes], Any]) -> Any:
    """Write a message as we would, and read it; None where it has become longer than a message may be."""
    written = strict_json.encode(message)
    if len(written) > MAX_VALUE_BYTES:
        return None
    try:
        return decode(headers, written)
    except Refused as refused:
        raise Broken(f"{message!r} was read, and refused once it was written: {refused}", one) from refused


_CHECKS: dict[str, Callable[[Input], str]] = {
    "json": _json,
    "envelope": _envelope,
    "inbound": _inbound,
    "command": _command,
    "event": _event,
    "moment": _moment,
}
