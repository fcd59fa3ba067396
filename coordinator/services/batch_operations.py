"""Verbs for many sagas: what a filter finds, the confirmation of it, and the operation that it begins.

    survey (dry run) -> a confirmation of what was found -> survey again -> the same? -> the operation with its sagas

A confirmation names the request, the sagas that were found, and who asked; it holds for ten minutes and begins one
operation. A `BatchWorker` of any process that serves the API does what is begun.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Any, Final

import msgspec

from coordinator.engine.clock import new_saga_id
from coordinator.engine.ports import Chance
from coordinator.errors import Conflict, InvalidInput, NotFound
from coordinator.saga.events import (
    AbandonRequested,
    CompensateRequested,
    Resolution,
    ResolveRequested,
    ResumeRequested,
    RetryRequested,
    SkipRequested,
    SuspendRequested,
    Verb,
)
from coordinator.saga.model import SagaStatus
from coordinator.store.batches import BatchRecord, BatchStore, ItemRecord, NewBatch
from coordinator.store.reads import ListFilter, SagaReads, SagaSummary
from coordinator.wire.rfc3339 import format_ms

PAGE: Final = 1_000
SAMPLE: Final = 10
CONFIRMATION_MS: Final = 10 * 60 * 1000

_IN_PROGRESS = frozenset({SagaStatus.SCHEDULED, SagaStatus.STARTED, SagaStatus.PENDING, SagaStatus.COMPENSATING})
_SUSPENDED = frozenset({SagaStatus.SUSPENDED})

FITTING: Final[dict[str, frozenset[SagaStatus]]] = {
    "retry": _SUSPENDED,
    "resume": _SUSPENDED,
    "skip": _SUSPENDED,
    "resolve": _SUSPENDED,
    "compensate": (_IN_PROGRESS | _SUSPENDED) - {SagaStatus.COMPENSATING},
    "suspend": _IN_PROGRESS - {SagaStatus.SCHEDULED},
    "abandon": _IN_PROGRESS | _SUSPENDED,
}
"""The verbs that there are in bulk, and the statuses in which they may be possible."""

_CHANGES: Final[dict[str, tuple[tuple[str, ...], str]]] = {
    "pause": (("running",), "paused"),
    "resume": (("paused",), "running"),
    "cancel": (("running", "paused"), "cancelled"),
}


class Asked(msgspec.Struct, frozen=True):
    """What somebody wants of many sagas; `filter` and `members` as the request had them, `scope` as in BatchRecord."""

    actor: str
    verb: str
    members: dict[str, Any]
    filter: dict[str, Any]
    chosen: ListFilter
    scope: frozenset[str] | None


class Survey(msgspec.Struct, frozen=True):
    """What a filter finds now: the ids one after the other, 36 characters each, and their versions."""

    count: int
    ids: str
    versions: list[int]
    sample: list[SagaSummary]

    @property
    def digest(self) -> bytes:
        """One word that is another for other sagas."""
        return hashlib.sha256(self.ids.encode()).digest()[:16]


class DryRun(msgspec.Struct, frozen=True):
    """How many sagas there are, some of them, and what to say to begin; nothing has changed."""

    count: int
    sample: list[SagaSummary]
    confirmation: str
    expires_at: str


class Counts(msgspec.Struct, frozen=True):
    """How far an operation is; `left` have no outcome, and never will once it is cancelled."""

    total: int
    done: int
    refused: int
    failed: int
    left: int


class BatchOperation(msgspec.Struct, frozen=True):
    """A verb for many sagas, and how far it is."""

    id: str
    verb: str
    state: str
    counts: Counts
    rate: int
    filter: dict[str, Any]
    members: dict[str, Any]
    actor: str
    reason: str
    created_at: str
    changed_at: str
    ended_at: str | None


class NotAsConfirmed(Conflict):
    """What was confirmed is not what would be done; `members` says what would."""

    kind = "not-as-confirmed"

    def __init__(self, reason: str, members: dict[str, Any] | None = None) -> None:
        super().__init__(reason)
        self.members = members or {}


class TooMany(Conflict):
    """The filter finds more sagas than one operation may have."""

    kind = "too-many"


class ChangeRefused(Conflict):
    """The operation is not in a state in which that is possible; `members` says in which it is."""

    def __init__(self, reason: str, members: dict[str, Any]) -> None:
        super().__init__(reason)
        self.members = members


class BatchOperations:
    """Surveys, begins, shows and changes batch operations; `sagas_max` is how many sagas one may have."""

    def __init__(self, store: BatchStore, reads: SagaReads, chance: Chance, sagas_max: int) -> None:
        self._store = store
        self._reads = reads
        self._chance = chance
        self._sagas_max = sagas_max
        self._secret: bytes | None = None

    async def dry_run(self, asked: Asked) -> DryRun:
        """Say what would be done. Raises TooMany, Unavailable."""
        survey = await self._survey(asked)
        expires_ms = await self._store.now_ms() + CONFIRMATION_MS
        token = await self._confirmation(asked, survey, expires_ms)
        return DryRun(survey.count, survey.sample, token, format_ms(expires_ms))

    async def create(self, asked: Asked, confirmation: str, reason: str, rate: int, request_id: str) -> BatchOperation:
        """Begin what was confirmed. Raises InvalidInput, NotAsConfirmed, TooMany, Unavailable."""
        expires_ms = _expiry(confirmation)
        now_ms = await self._store.now_ms()
        if expires_ms < now_ms:
            raise NotAsConfirmed("the confirmation has run out: make another dry run")
        seal = hashlib.sha256(confirmation.encode()).digest()
        await self._check_unused(seal)
        survey = await self._survey(asked)
        await self._check(asked, confirmation, survey, expires_ms)
        new = NewBatch(
            new_saga_id(now_ms, self._chance),
            asked.actor,
            reason,
            asked.verb,
            asked.members,
            asked.filter,
            list(asked.chosen.statuses or ()),
            None if asked.scope is None else sorted(asked.scope),
            seal,
            rate,
            "{" + ",".join(_split(survey.ids)) + "}",
            "{" + ",".join(map(str, survey.versions)) + "}",
        )
        if not await self._store.create(new, request_id):
            await self._check_unused(seal)
        return await self.get(new.id, asked.scope)

    async def get(self, operation_id: str, scope: frozenset[str] | None) -> BatchOperation:
        """One operation, of which somebody who knows these definitions may know. Raises NotFound, Unavailable."""
        return describe(await self._known(operation_id, scope))

    async def page(
        self, before: str, state: str | None, scope: frozenset[str] | None, limit: int
    ) -> list[BatchOperation]:
        """Operations, newest first. Raises Unavailable."""
        return [describe(record) for record in await self._store.page(before, state, scope, limit)]

    async def items(
        self, operation_id: str, scope: frozenset[str] | None, after: str, outcome: str | None, limit: int
    ) -> list[ItemRecord]:
        """Sagas of an operation, oldest first. Raises NotFound, Unavailable."""
        await self._known(operation_id, scope)
        return await self._store.items(operation_id, after, outcome, limit)

    async def change(
        self, operation_id: str, scope: frozenset[str] | None, what: str, actor: str, reason: str, request_id: str
    ) -> BatchOperation:
        """Pause, resume or cancel an operation. Raises NotFound, ChangeRefused, Unavailable."""
        await self._known(operation_id, scope)
        allowed, state = _CHANGES[what]
        if not await self._store.change(operation_id, allowed, state, f"batch_{what}", actor, reason, request_id):
            record = await self._known(operation_id, scope)
            possible = [name for name, (states, _) in _CHANGES.items() if record.state in states]
            sentence = f"{what} is not possible while the batch operation is {record.state}"
            raise ChangeRefused(sentence, {"state": record.state, "allowed": possible})
        return await self.get(operation_id, scope)

    async def _known(self, operation_id: str, scope: frozenset[str] | None) -> BatchRecord:
        record = await self._store.get(operation_id)
        if record is None or (scope is not None and (record.scope is None or not record.scope <= scope)):
            raise NotFound("there is no batch operation with this id")
        return record

    # ------------------------------------------------------------ what there is

    async def _survey(self, asked: Asked) -> Survey:
        """Walk through what the filter finds, page by page; an id takes 36 bytes here, however many there are."""
        ids: list[str] = []
        versions: list[int] = []
        sample: list[SagaSummary] = []
        chosen = msgspec.structs.replace(asked.chosen, definitions=asked.scope)
        before: str | None = None
        while True:
            found = await self._reads.page(chosen, before, PAGE)
            page, before = found.sagas, found.behind
            ids.append("".join([saga.id for saga in page]))
            versions += [saga.version for saga in page]
            sample += page[: SAMPLE - len(sample)]
            if len(versions) > self._sagas_max:
                detail = f"the filter finds more than {self._sagas_max} sagas: narrow it, and begin again for the rest"
                raise TooMany(detail)
            if before is None:
                break
        return Survey(len(versions), "".join(ids), versions, sample)

    # ------------------------------------------------------------ confirmations

    async def _confirmation(self, asked: Asked, survey: Survey, expires_ms: int) -> str:
        words = expires_ms.to_bytes(8, "big") + survey.count.to_bytes(4, "big") + survey.digest
        return base64.urlsafe_b64encode(words + await self._seal(asked, words)).decode()

    async def _check(self, asked: Asked, confirmation: str, survey: Survey, expires_ms: int) -> None:
        raw = base64.urlsafe_b64decode(confirmation)
        words, seal = raw[:28], raw[28:]
        if not hmac.compare_digest(seal, await self._seal(asked, words)):
            raise InvalidInput("this confirms another request: another verb, filter, step or person", "/confirmation")
        if confirmation != await self._confirmation(asked, survey, expires_ms):
            confirmed = int.from_bytes(words[8:12], "big")
            detail = f"the filter finds {survey.count} sagas now, {confirmed} were confirmed, or others: make a dry run"
            raise NotAsConfirmed(detail, {"count": survey.count, "confirmed": confirmed})

    async def _check_unused(self, seal: bytes) -> None:
        begun = await self._store.of_confirmation(seal)
        if begun is not None:
            raise NotAsConfirmed("this confirmation has begun a batch operation already", {"batch_operation": begun.id})

    async def _seal(self, asked: Asked, words: bytes) -> bytes:
        if self._secret is None:
            self._secret = await self._reads.secret()
        scope = None if asked.scope is None else sorted(asked.scope)
        what = msgspec.json.encode([asked.actor, asked.verb, asked.members, asked.chosen, scope], order="deterministic")
        return hmac.digest(self._secret, b"confirmation" + words + what, "sha256")


def verb_of(record: BatchRecord) -> Verb:
    """The verb that a batch operation does to each saga."""
    who, members = (record.actor, record.reason), record.members
    match record.verb:
        case "skip":
            return SkipRequested(*who, members["step"])
        case "resolve":
            result = members.get("result")
            raw = None if result is None else msgspec.Raw(msgspec.json.encode(result))
            return ResolveRequested(*who, members["step"], Resolution(members["resolution"]), raw)
        case _:
            return _PLAIN[record.verb](*who)


def describe(record: BatchRecord) -> BatchOperation:
    """A batch operation as people see it."""
    left = record.total - record.done - record.refused - record.failed
    return BatchOperation(
        record.id,
        record.verb,
        record.state,
        Counts(record.total, record.done, record.refused, record.failed, left),
        record.rate,
        record.filter,
        record.members,
        record.actor,
        record.reason,
        format_ms(record.created_ms),
        format_ms(record.changed_ms),
        None if record.ended_ms is None else format_ms(record.ended_ms),
    )


_PLAIN: Final[dict[str, type[Verb]]] = {
    "retry": RetryRequested,
    "compensate": CompensateRequested,
    "suspend": SuspendRequested,
    "resume": ResumeRequested,
    "abandon": AbandonRequested,
}


def _expiry(confirmation: str) -> int:
    try:
        raw = base64.b64decode(confirmation.encode("ascii"), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raw = b""
    if len(raw) != 60 or base64.urlsafe_b64encode(raw).decode() != confirmation:
        raise InvalidInput("this is no confirmation of a dry run", "/confirmation")
    return int.from_bytes(raw[:8], "big")


def _split(ids: str) -> list[str]:
    return [ids[place : place + 36] for place in range(0, len(ids), 36)]
