"""Dead letters for people: look at them, send one again as it came or edited, or say that it is not wanted any more.

Each act is one statement with its audit. A letter that was sent again is published by the process that was asked, and
by the recovery worker should that die: once the act is committed it happens.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
import structlog

from coordinator.engine.letters import fits_whole, headers_json, headers_of, may_be_cut
from coordinator.engine.ports import Bus
from coordinator.engine.registry import Registry
from coordinator.engine.topology import Topology
from coordinator.errors import Conflict, InvalidInput, NotFound, StaleVersion, Unavailable
from coordinator.kafka.records import Record
from coordinator.observability.acts import say_act
from coordinator.observability.metrics import Metrics
from coordinator.services.acting import do_once
from coordinator.services.legibility import KeptRecord, Legible, Refusal, changed_identity, legible, refusal_of
from coordinator.services.recovery import LEASE_MS, send_again
from coordinator.services.words import says_something
from coordinator.store.audit import AuditFilter
from coordinator.store.letters import LAST_LETTER, KeptLetter, LetterFilter, LetterReads, LetterSummary
from coordinator.store.postgres import PostgresStore

log = structlog.get_logger()

PAGE_MAX = 200
ACTOR_MAX = 200  # characters
REASON_MAX = 500
STATES = ("open", "redriven", "discarded")
ReadAgain = Callable[[str, int, int], Awaitable[Record | None]]  # of a topic, a partition, at an offset
REDRIVE, DISCARD = "redrive", "discard"  # how the audit calls the acts
KINDS = ("record", "action", "compensation")


class LetterConflict(Conflict):
    """The letter is not open: `state` says what became of it, or that its saga's verbs are asked for."""

    def __init__(self, message: str, letter: LetterSummary) -> None:
        super().__init__(message)
        self.state = letter.state
        self.members = members(letter)


class LetterStale(StaleVersion):
    """The letter has moved on since it was looked at; `members` says how it stands."""

    def __init__(self, letter: LetterSummary) -> None:
        super().__init__(f"dead letter {letter.id} has moved on: it is {letter.state} after {letter.tries} tries")
        self.members = members(letter)


class LetterRefused(InvalidInput):
    """The record would be set aside again at once; `refusal` says why, and where."""

    def __init__(self, refusal: Refusal) -> None:
        place = f" at {refusal.path}" if refusal.path else ""
        super().__init__(f"the record cannot be read, {refusal.reason}{place}: {refusal.detail}", "/value")
        self.refusal = refusal


class Letter(msgspec.Struct, frozen=True):
    """A dead letter with its bytes and what can be read of them: as it came, and as it would be sent again."""

    summary: LetterSummary
    cluster_id: str | None
    original: KeptRecord
    current: KeptRecord
    legible: Legible


class Seen(msgspec.Struct, frozen=True):
    """How a letter stood when somebody looked at it; an act may ask that it still does."""

    tries: int
    state: str


class LetterService:
    """What can be asked of dead letters."""

    def __init__(
        self,
        store: PostgresStore,
        reads: LetterReads,
        bus: Bus,
        topology: Topology,
        registry: Registry,
        metrics: Metrics,
        cluster_id: str,
        read_again: ReadAgain,
    ) -> None:
        self._store = store
        self._reads = reads
        self._bus = bus
        self._topology = topology
        self._registry = registry
        self._metrics = metrics
        self._cluster_id = cluster_id
        self._read_again = read_again

    async def list(self, chosen: LetterFilter, before: int | None = None, limit: int = 50) -> list[LetterSummary]:
        """Letters that fit a filter, newest first, from behind the id `before`; raises InvalidInput, Unavailable."""
        if not 1 <= limit <= PAGE_MAX:
            raise InvalidInput(f"a page has 1 to {PAGE_MAX} letters", "/limit")
        if chosen.state is not None and chosen.state not in STATES:
            raise InvalidInput(f"a state is one of {', '.join(STATES)}", "/state")
        if chosen.kind is not None and chosen.kind not in KINDS:
            raise InvalidInput(f"a kind is one of {', '.join(KINDS)}", "/kind")
        return await self._reads.page(chosen, before, limit)

    async def get(self, letter_id: int) -> Letter:
        """One letter with everything that is kept of it; raises NotFound, Unavailable."""
        kept = await self._kept(letter_id)
        original, current = _original(kept), _current(kept)
        return Letter(kept.summary, kept.cluster_id, original, current, legible(current, self._registry))

    async def complete(self, letter_id: int) -> Letter:
        """Read the record of a letter that was cut again from Kafka, and keep it whole, if it is still there.

        Answers the letter as it is then; look at `complete`. Raises NotFound, Unavailable.
        """
        await self._completed(await self._kept(letter_id))
        return await self.get(letter_id)

    async def redrive(
        self,
        letter_id: int,
        actor: str,
        reason: str,
        value: bytes | None = None,
        headers: Mapping[str, bytes | None] | None = None,
        *,
        new_identity: bool = False,
        seen: Seen | None = None,
        request_id: str = "",
        since_ms: int | None = None,
    ) -> LetterSummary:
        """Send an open record again to where it came from; answers what became of the letter.

        `value` replaces the record's value; `headers` replaces the headers that it names, or removes them with None.
        The key stays; a value that speaks of another saga or command is refused unless `new_identity` says that this
        is meant. `since_ms` is when the same request first came, if it may have done it before: then that is looked up
        first. Raises NotFound, LetterStale (it is not as it was `seen`), LetterConflict, LetterRefused (it would be set
        aside at once), InvalidInput, or Unavailable: then the outcome is open, and the letter's state tells.
        """
        _check_words(actor, reason)

        async def act() -> None:
            kept = await self._kept(letter_id)
            _check_seen(kept.summary, seen)
            self._check_open(kept.summary, "send it again", "retry")
            self._check_single(kept.summary)
            kept = await self._completed(kept)
            _check_whole(kept, value, headers)
            edited = _edited(_current(kept), value, headers or {})
            self._check_edit(_original(kept), edited, new_identity=new_identity)
            new_value = kept.edited_value if value is None else value
            new_headers = headers_json(edited.headers) if headers else kept.edited_headers
            arguments = (letter_id, kept.summary.tries, actor, reason, new_value, new_headers, LEASE_MS, request_id)
            rows = await self._store.fetch("redrive_dead_letter", *arguments)
            if not rows:
                raise _moved_on((await self._kept(letter_id)).summary)
            say_act(actor=actor, action=REDRIVE, reason=reason, request_id=request_id, letter_id=letter_id)
            await self._send(letter_id, rows)

        return await self._once(act, REDRIVE, letter_id, actor, reason, since_ms)

    async def discard(
        self,
        letter_id: int,
        actor: str,
        reason: str,
        *,
        seen: Seen | None = None,
        request_id: str = "",
        since_ms: int | None = None,
    ) -> LetterSummary:
        """Close an open record for good; answers what became of the letter.

        `since_ms` is when the same request first came, if it may have done it before: then that is looked up first.
        Raises NotFound, LetterStale, LetterConflict, InvalidInput, or Unavailable: then the outcome is open.
        """
        _check_words(actor, reason)

        async def act() -> None:
            letter = (await self._kept(letter_id)).summary
            _check_seen(letter, seen)
            self._check_open(letter, "discard it", "resolve")
            if not await self._store.fetch("discard_dead_letter", letter_id, actor, reason, request_id, letter.tries):
                raise _moved_on((await self._kept(letter_id)).summary)
            say_act(actor=actor, action=DISCARD, reason=reason, request_id=request_id, letter_id=letter_id)

        return await self._once(act, DISCARD, letter_id, actor, reason, since_ms)

    async def _once(
        self,
        act: Callable[[], Awaitable[None]],
        action: str,
        letter_id: int,
        actor: str,
        reason: str,
        since_ms: int | None,
    ) -> LetterSummary:
        """Do an act unless the same request has done it since then; answers what became of the letter."""

        async def was_done() -> bool:
            await self._kept(letter_id)  # the audit knows of no other ids
            chosen = AuditFilter(actor=actor, action=action, letter_id=letter_id, since_ms=since_ms)
            return await self._reads.audit.was_done(chosen, reason)

        await do_once(act, was_done, again=since_ms is not None)
        return (await self._kept(letter_id)).summary

    async def _send(self, letter_id: int, rows: Sequence[Any]) -> None:
        try:
            await send_again(self._store, self._bus, self._topology, rows)
        except Unavailable as error:
            log.info("dead_letter_sent_later", letter_id=letter_id, reason=str(error))
        self._metrics.redriven.labels("person").inc()

    async def _kept(self, letter_id: int) -> KeptLetter:
        kept = await self._reads.letter(letter_id) if 0 < letter_id <= LAST_LETTER else None
        if kept is None:
            raise NotFound(f"there is no dead letter {letter_id}")
        return kept

    def _check_open(self, letter: LetterSummary, what: str, verb: str) -> None:
        if letter.kind != "record":
            sentence = (
                f"dead letter {letter.id} is the {letter.kind} of a saga: to {what}, {verb} saga {letter.saga_id}"
            )
            raise LetterConflict(sentence, letter)
        if letter.state != "open":
            raise _moved_on(letter)

    def _check_single(self, letter: LetterSummary) -> None:
        """Refuse what is not one record of our topic."""
        if letter.topic != self._topology.replies:
            sentence = f"dead letter {letter.id} is of topic {letter.topic}; only {self._topology.replies} is ours"
            raise LetterConflict(sentence, letter)
        first, following = letter.first_offset or 0, letter.next_offset or 0
        if following - first > 1:
            sentence = f"dead letter {letter.id} stands for the offsets {first} to {following - 1}, not for one record"
            raise LetterConflict(sentence, letter)

    async def _completed(self, kept: KeptLetter) -> KeptLetter:
        """The letter, whole if it can be: of a record that was cut Kafka may still have all of it."""
        letter = kept.summary
        if letter.kind != "record" or letter.complete or kept.cluster_id != self._cluster_id:
            return kept
        try:
            record = await self._read_again(letter.topic, letter.partition, letter.first_offset or 0)
        except Unavailable as error:
            log.info("record_not_read_again", letter_id=letter.id, reason=str(error))
            return kept
        if record is None or not fits_whole(record) or not _is_the_same(record, kept):
            return kept
        headers = headers_json(record.headers)
        await self._store.fetch("complete_dead_letter", letter.id, record.key, record.value, headers)
        return await self._kept(letter.id)

    def _check_edit(self, original: KeptRecord, edited: KeptRecord, *, new_identity: bool) -> None:
        refusal = refusal_of(edited, self._registry)
        if refusal is not None:
            raise LetterRefused(refusal)
        changed = changed_identity(original, edited)
        if changed and not new_identity:
            raise InvalidInput(f"the edit changes what the record is about: {', '.join(changed)}", "/value")


def _check_whole(kept: KeptLetter, value: bytes | None, headers: Mapping[str, bytes | None] | None) -> None:
    """Refuse to send what was cut as if it were the whole: whoever has the rest must give it."""
    letter = kept.summary
    if letter.complete:
        return
    if value is None and kept.edited_value is None:
        sentence = f"of dead letter {letter.id} only the beginning is kept: give the whole value to send it again"
        raise InvalidInput(sentence, "/value")
    if not headers and kept.edited_headers is None and may_be_cut(kept.key, headers_of(kept.headers)):
        sentence = f"of dead letter {letter.id} not all headers are kept as they were: give those that are needed"
        raise InvalidInput(sentence, "/headers")


def _is_the_same(record: Record, kept: KeptLetter) -> bool:
    """Whether a record that was read again is the one of which a letter keeps the beginning."""
    return record.key == kept.key and (record.value or b"").startswith(kept.value or b"")


def _moved_on(letter: LetterSummary) -> LetterConflict:
    if letter.state == "open":
        return LetterConflict(f"dead letter {letter.id} has just been tried: look at it again", letter)
    by = f" by {letter.changed_by}" if letter.changed_by else ""
    return LetterConflict(f"dead letter {letter.id} is {letter.state}{by}", letter)


def members(letter: LetterSummary) -> dict[str, Any]:
    """What a refusal says of how a letter stands."""
    return {"letter_id": letter.id, "letter_state": letter.state, "tries": letter.tries}


def _check_seen(letter: LetterSummary, seen: Seen | None) -> None:
    if seen is not None and seen != Seen(letter.tries, letter.state):
        raise LetterStale(letter)


def _check_words(actor: str, reason: str) -> None:
    for name, text, longest in (("actor", actor, ACTOR_MAX), ("reason", reason, REASON_MAX)):
        if len(text) > longest or not says_something(text):
            raise InvalidInput(f"the {name} is 1 to {longest} printable characters", f"/{name}")


def _original(kept: KeptLetter) -> KeptRecord:
    letter = kept.summary
    return KeptRecord(
        letter.topic, letter.partition, letter.first_offset or 0, kept.key, kept.value, headers_of(kept.headers)
    )


def _current(kept: KeptLetter) -> KeptRecord:
    """The record as it would be sent again now."""
    original = _original(kept)
    return msgspec.structs.replace(
        original,
        value=original.value if kept.edited_value is None else kept.edited_value,
        headers=original.headers if kept.edited_headers is None else headers_of(kept.edited_headers),
    )


def _edited(current: KeptRecord, value: bytes | None, headers: Mapping[str, bytes | None]) -> KeptRecord:
    kept = [(name, raw) for name, raw in current.headers if name not in headers]
    added = [(name, raw) for name, raw in headers.items() if raw is not None]
    return msgspec.structs.replace(
        current, value=current.value if value is None else value, headers=[*kept, *added] if headers else kept
    )
