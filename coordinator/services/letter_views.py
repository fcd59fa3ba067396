"""A dead letter as the API shows it: its record decoded as far as possible, what it is about, why it is not taken now.

For whoever may not see sensitive fields, only what can be told apart is shown: the masked fields of a message that can
be read. Of a record that cannot be read nobody knows what is sensitive, so only its size is left.
"""

from __future__ import annotations

import base64
from typing import Any, Final

import msgspec

from coordinator.saga.masking import MASK, Masks
from coordinator.services.legibility import About, KeptRecord, Refusal, about, data_of, opened
from coordinator.services.letters import Letter
from coordinator.store.letters import LetterSummary
from coordinator.store.reads import SagaSummary
from coordinator.wire.strict_json import Refused

HEAD_BYTES: Final = 256  # of what is no text, as hexadecimal digits

# What messages have besides payloads; another member may hold anything.
_PLAIN: Final = frozenset(
    {
        *("saga_id", "saga_type", "step_name", "command_id", "attempt", "direction", "not_after", "compensates"),
        *("original_outcome", "effect", "definition", "version", "start_at"),
    }
)
_CARRIED: Final = frozenset({"input", "payload", "original_payload", "result", "original_result"})
_OF_ERROR: Final = ("code", "message", "retryable")
_OURS: Final = ("ce_", "saga-")


class BytesView(msgspec.Struct, frozen=True):
    """Bytes as far as they can be read: as `text`, or else as `base64` with their `head` in hexadecimal digits.

    `size` is that of the whole, in bytes, of which `kept` are kept. `masked` says that something is hidden.
    """

    size: int
    kept: int
    text: str | None = None
    base64: str | None = None
    head: str | None = None
    masked: bool = False


class HeaderView(msgspec.Struct, frozen=True):
    """A header of a record; null is one without a value."""

    name: str
    value: BytesView | None


class RecordView(msgspec.Struct, frozen=True):
    """A record: null is a key or a value that it does not have."""

    key: BytesView | None
    value: BytesView | None
    headers: list[HeaderView]


class DeadLetterDetail(LetterSummary, frozen=True):
    """A dead letter with everything that is kept of it.

    `saga` is the saga that it is about, as it stands; null where the record does not say, or there is none. `refusal`
    is why the record would be set aside again now: null when it would be taken. `edited_record` is what would be sent
    now, where somebody has edited it.
    """

    cluster_id: str | None
    about: About
    saga: SagaSummary | None
    refusal: Refusal | None
    record: RecordView
    edited_record: RecordView | None


def describe_letter(letter: Letter, saga: SagaSummary | None, masks: Masks | None) -> DeadLetterDetail:
    """Put a letter together; `masks` hide what is sensitive."""
    summary, edited = letter.summary, letter.summary.edited
    if masks is not None and summary.saga_id is not None:
        summary = msgspec.structs.replace(summary, detail=masks.text(summary.detail))
    return DeadLetterDetail(
        **msgspec.structs.asdict(summary),
        cluster_id=letter.cluster_id,
        about=_told(letter, masks),
        saga=saga,
        refusal=letter.legible.refusal if letter.summary.kind == "record" else None,
        record=_record(letter.original, letter.summary, masks, None if edited else letter.summary.value_length),
        edited_record=_record(letter.current, letter.summary, masks, None) if edited else None,
    )


def about_letter(letter: Letter) -> About:
    """What a letter is about, as far as its row or its record says."""
    found = about(letter.current)
    summary = letter.summary
    return msgspec.structs.replace(
        found, saga_id=summary.saga_id or found.saga_id, command_id=summary.command_id or found.command_id
    )


def _told(letter: Letter, masks: Masks | None) -> About:
    """What a letter is about, for whoever asks: words of a record that cannot be read may be anything."""
    found = about_letter(letter)
    if masks is None or letter.summary.kind != "record" or _can_be_read(letter.current):
        return found
    return About(None, found.saga_id, None, letter.summary.command_id, None)


def _record(record: KeptRecord, letter: LetterSummary, masks: Masks | None, size: int | None) -> RecordView:
    if masks is None:
        headers = [HeaderView(name, _bytes(value)) for name, value in record.headers]
        return RecordView(_bytes(record.key), _bytes(record.value, size), headers)
    readable = letter.kind != "record" or _can_be_read(record)
    text = _masked_text(record, masks) if readable else None
    return RecordView(
        _bytes(record.key) if readable else _hidden(record.key),
        _hidden(record.value, size) if text is None else _text(record.value, text, size),
        [
            HeaderView(name, _bytes(value) if readable and name.startswith(_OURS) else _hidden(value))
            for name, value in record.headers
        ],
    )


def _can_be_read(record: KeptRecord) -> bool:
    try:
        opened(record)
    except Refused:
        return False
    return True


def _masked_text(record: KeptRecord, masks: Masks) -> str | None:
    data = data_of(record)
    if data is None:
        return None
    step_name = data.get("step_name")
    shown = masks.fields(
        step_name if isinstance(step_name, str) else None,
        msgspec.Raw(msgspec.json.encode({name: _member(name, value) for name, value in data.items()})),
    )
    return bytes(shown).decode()


def _member(name: str, value: Any) -> Any:
    if name == "error" and isinstance(value, dict):
        return {part: value[part] for part in _OF_ERROR if part in value}
    return value if name in _CARRIED or name in _PLAIN else MASK


def _bytes(raw: bytes | None, size: int | None = None) -> BytesView | None:
    if raw is None:
        return None
    whole = len(raw) if size is None else size
    try:
        return BytesView(whole, len(raw), text=raw.decode())
    except UnicodeDecodeError:
        return BytesView(whole, len(raw), base64=base64.b64encode(raw).decode(), head=raw[:HEAD_BYTES].hex(" "))


def _text(raw: bytes | None, text: str, size: int | None) -> BytesView:
    kept = len(raw or b"")
    return BytesView(kept if size is None else size, kept, text=text, masked=True)


def _hidden(raw: bytes | None, size: int | None = None) -> BytesView | None:
    if raw is None:
        return None
    return BytesView(len(raw) if size is None else size, len(raw), masked=True)
