"""The rows that the engine's Postgres holds, and what each call of the store's port does to them, all or nothing.

No SQL is imitated: a batch is rows already. What a statement promises (who wins a key, what a fence refuses) is written
here once more, and tests/integration/store/test_port.py holds both this and the real Postgres to it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from coordinator.store.batch import Act, Batch, Fence, Token
from coordinator.store.postgres import (
    Claim,
    FenceLost,
    Hold,
    KeyTaken,
    RowMoved,
    SagaRow,
    Shard,
    TakenKey,
    UnsentMessage,
)


class Row(msgspec.Struct):
    """A row of `saga`."""

    id: str
    part: int
    definition_id: int
    business_key: str
    traceparent: str | None
    input: bytes
    version: int
    status: str
    state: bytes
    created_ms: int
    deadline_ms: int | None
    wake_ms: int | None


class Logged(msgspec.Struct, frozen=True):
    """A row of `saga_log`."""

    version: int
    event: str
    step_name: str | None
    status: str
    data: bytes
    at_ms: int


class Partition(msgspec.Struct):
    """A row of `shard`; `verdicts` counts those since `first_offset`."""

    epoch: int
    owner: str
    cluster_id: str
    first_offset: int
    next_offset: int
    events_through_ms: int = 0
    verdicts: int = 0


class Letter(msgspec.Struct):
    """A row of `dead_letter`."""

    id: int
    kind: str
    reason: str
    topic: str
    partition: int
    first_offset: int | None
    key: bytes | None
    value: bytes | None
    headers: bytes
    saga_id: str | None
    command_id: str | None
    state: str
    tries: int
    next_try_ms: int | None


class Incident(msgspec.Struct):
    """A row of `incident`."""

    saga_id: str
    version: int
    reason: str
    step_name: str | None
    resolved_by: str | None = None


class Written(msgspec.Struct, frozen=True):
    """What a committed batch changed, for whoever watches: rows as they stood before, by id, and the batch."""

    before: Mapping[str, tuple[int, str, bytes]]
    batch: Batch
    at_ms: int


class Database:
    """All tables; `now_ms` is its clock, `watch` hears of every batch at its commit."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self.now_ms = now_ms
        self.watch: Callable[[Written], None] = lambda written: None
        self.sagas: dict[str, Row] = {}
        self.keys: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.labels: dict[tuple[str, str], str] = {}
        self.log: defaultdict[str, list[Logged]] = defaultdict(list)
        self.outbox: dict[Token, UnsentMessage] = {}
        self.shards: dict[int, Partition] = {}
        self.letters: list[Letter] = []
        self.incidents: dict[tuple[str, int, str], Incident] = {}
        self.audit: list[Act] = []
        self.held: dict[tuple[str, str], tuple[int, int]] = {}  # the partition, and since when (ms)
        self.tallies: Counter[tuple[int, str]] = Counter()

    # ------------------------------------------------------------ the batch

    def commit(self, batch: Batch) -> int:
        """Write a batch; answers when. Raises what the real statement is refused with, and then nothing is written."""
        self._check(batch)
        now_ms = self.now_ms()
        moves = [(self.sagas[move[0]], move) for move in batch.moves]
        before = {row.id: (row.version, row.status, row.state) for row, _ in moves}
        for fence in batch.fences:
            self._consume(fence, batch.events_through_ms)
        for row, move in moves:
            _, _, row.version, row.status, row.state, row.deadline_ms, _, _ = move
            row.wake_ms = _earlier(row.wake_ms, row.deadline_ms) if row.deadline_ms is not None else None
        self._start(batch, now_ms)
        for token in batch.tokens:
            self.outbox.pop(token, None)
        for saga_id, version, position, part, topic, partition, type_, traceparent, payload in batch.out:
            token = Token(saga_id, version, position)
            self.outbox[token] = UnsentMessage(token, part, topic, partition, type_, traceparent, payload, now_ms)
        for saga_id, version, _, event, step_name, status, data in batch.logs:
            self.log[saga_id].append(Logged(version, event, step_name, status, data, now_ms))
        self._take_up(batch)
        self._set_aside(batch, now_ms)
        for saga_id, version, reason, step_name, _ in batch.incidents:
            self.incidents.setdefault((saga_id, version, reason), Incident(saga_id, version, reason, step_name))
        self.audit += batch.audits
        for pair, sagas in batch.tallies.items():
            self.tallies[pair] += sagas
        self.watch(Written(before, batch, now_ms))
        return now_ms

    def _check(self, batch: Batch) -> None:
        for fence in batch.fences:
            shard = self.shards.get(fence.part)
            known = None if shard is None else (shard.epoch, shard.owner, shard.next_offset)
            if known != (fence.epoch, fence.owner, fence.from_offset):
                raise FenceLost("a partition has another owner or another offset")
        unsent = {token.saga_id for token in self.outbox} if any(move[6] for move in batch.moves) else set()
        for move in batch.moves:
            row = self.sagas.get(move[0])
            if row is None or row.version != move[1] or (move[6] and move[0] in unsent):
                raise RowMoved("a saga has moved on or its command is unsent")
        wanted = [(start[0], start[1]) for start in batch.starts]
        if len(set(wanted)) < len(wanted) or any(key in self.keys for key in wanted):
            raise KeyTaken("a business key starts one saga per definition")

    def _consume(self, fence: Fence, events_through_ms: int) -> None:
        shard = self.shards[fence.part]
        shard.next_offset = fence.next_offset
        shard.verdicts += sum(fence[5:])
        shard.events_through_ms = max(shard.events_through_ms, events_through_ms)

    def _start(self, batch: Batch, now_ms: int) -> None:
        for start in batch.starts:
            definition, business_key, saga_id, input_hash, part, definition_id, traceparent, input_ = start[:8]
            version, deadline_ms, status, state, _, wake_ms = start[8:]
            self.keys[definition, business_key] = (saga_id, input_hash)
            self.sagas[saga_id] = Row(
                *(saga_id, part, definition_id, business_key, traceparent, input_, version, status, state),
                *(now_ms, deadline_ms, wake_ms),
            )
        for name, value, saga_id in batch.labels:
            self.labels[saga_id, name] = value

    def _take_up(self, batch: Batch) -> None:
        """Close what a person's act, or a later success, closes."""
        status = {move[0]: move[3] for move in batch.moves}
        by: dict[str, str] = {saga_id: who for saga_id, who in batch.resolves}  # noqa: C416 - rows are tuples
        for incident in self.incidents.values():
            if incident.saga_id in by and incident.resolved_by is None:
                incident.resolved_by = by[incident.saga_id]
        worked = set(batch.closes)
        for letter in self.letters:
            if letter.kind == "record" or letter.state != "open":
                continue
            if letter.saga_id in by:
                letter.state = "discarded" if status.get(letter.saga_id) == "abandoned" else "redriven"
            elif (letter.saga_id, letter.command_id) in worked:
                letter.state = "redriven"

    def _set_aside(self, batch: Batch, now_ms: int) -> None:
        known = {(letter.topic, letter.partition, letter.first_offset) for letter in self.letters}
        for dead in batch.dead:
            kind, reason, _, _, topic, partition, first, _, key, value, _, headers, saga_id, _, command_id = dead[:15]
            _, pause_ms, letter_id, try_ = dead[15:]
            due_ms = None if pause_ms is None else now_ms + pause_ms
            old = next((one for one in self.letters if one.id == letter_id and one.kind == "record"), None)
            if old is not None and old.tries >= (try_ or 0) and old.value == value:
                if old.tries == try_ and old.state == "redriven":
                    old.state, old.reason, old.next_try_ms = "open", reason, due_ms
                    old.saga_id = saga_id or old.saga_id
            elif kind != "record" or (topic, partition, first) not in known:
                self.letters.append(
                    Letter(
                        *(len(self.letters) + 1, kind, reason, topic, partition, first, key, value, headers),
                        *(saga_id, command_id, "open", 0, due_ms),
                    )
                )

    # ------------------------------------------------------------ the other calls

    def load(self, saga_ids: Collection[str]) -> list[SagaRow]:
        rows = (self.sagas[saga_id] for saga_id in sorted(set(saga_ids)) if saga_id in self.sagas)
        return [
            SagaRow(
                *(row.id, row.part, row.definition_id, row.business_key, row.traceparent, row.input),
                *(row.version, row.status, row.state, row.created_ms),
            )
            for row in rows
        ]

    def taken_keys(self, keys: Iterable[tuple[str, str]]) -> list[TakenKey]:
        return [TakenKey(*key, *self.keys[key]) for key in keys if key in self.keys]

    def due(self, parts: Collection[int], before_ms: int, limit: int) -> list[str]:
        rows = [
            (row.wake_ms, row.id)
            for row in self.sagas.values()
            if row.wake_ms is not None and row.wake_ms < before_ms and row.part in parts
        ]
        return [saga_id for _, saga_id in sorted(rows)[:limit]]

    def push_wake(self, seen: Mapping[str, int]) -> list[str]:
        moved: list[str] = []
        for saga_id, version in seen.items():
            row = self.sagas[saga_id]
            if row.version != version:
                moved.append(saga_id)
            elif row.wake_ms is not None and row.deadline_ms is not None and row.wake_ms < row.deadline_ms:
                row.wake_ms = row.deadline_ms
        return moved

    def hold(self, holds: Iterable[Hold]) -> list[str]:
        came: list[str] = []
        for hold in holds:
            row = self.sagas.get(hold.saga_id)
            if row is None or row.version != hold.version or row.wake_ms is None:
                continue
            row.wake_ms, row.deadline_ms = hold.wake_ms, hold.deadline_ms
            if (hold.participant, hold.saga_id) not in self.held:
                came.append(hold.participant)
            self.held[hold.participant, hold.saga_id] = (row.part, self.now_ms())
        return came

    def held_of(self, participant: str, parts: Collection[int], limit: int) -> list[str]:
        found = (saga_id for (name, saga_id), (part, _) in self.held.items() if name == participant and part in parts)
        return sorted(found)[:limit]

    def release(self, participant: str, saga_ids: Iterable[str], before_ms: int, epochs: Mapping[int, int]) -> int:
        ours = {part for part, epoch in epochs.items() if part in self.shards and self.shards[part].epoch == epoch}
        found = ((key, self.held[key]) for saga_id in saga_ids if (key := (participant, saga_id)) in self.held)
        gone = [key for key, (part, since_ms) in found if part in ours and since_ms < before_ms]
        for key in gone:
            del self.held[key]
        return len(gone)

    def count_held(self, parts: Collection[int]) -> dict[str, int]:
        return dict(Counter(name for (name, _), (part, _) in self.held.items() if part in parts))

    def queues(self, participants: Collection[str]) -> set[str]:
        return {name for name, _ in self.held} & set(participants)

    def unsent_sagas(self, saga_ids: Collection[str]) -> set[str]:
        return {token.saga_id for token in self.outbox} & set(saga_ids)

    def unsent(self, parts: Collection[int], older_than_ms: int, after: Token, limit: int) -> list[UnsentMessage]:
        before_ms = self.now_ms() - older_than_ms
        found = [
            row
            for row in self.outbox.values()
            if row.part in parts and row.created_ms < before_ms and row.token > after
        ]
        return sorted(found, key=lambda row: row.token)[:limit]

    def acknowledge(self, tokens: Iterable[Token]) -> None:
        for token in tokens:
            self.outbox.pop(token, None)

    def claim(self, first_offsets: Mapping[int, int], owner: str, cluster_id: str) -> list[Claim]:
        claims = []
        for part, first in sorted(first_offsets.items()):
            shard = self.shards.get(part)
            if shard is None:
                shard = self.shards[part] = Partition(0, owner, cluster_id, first, first)
            shard.epoch += 1
            shard.owner = owner
            if shard.cluster_id != cluster_id:
                shard.cluster_id, shard.first_offset, shard.next_offset, shard.verdicts = cluster_id, first, first, 0
            claims.append(Claim(part, shard.epoch, shard.next_offset, shard.events_through_ms))
        return claims

    def read_shards(self, parts: Iterable[int]) -> list[Shard]:
        found = [(part, self.shards[part]) for part in parts if part in self.shards]
        return [Shard(part, one.epoch, one.owner, one.cluster_id, one.next_offset) for part, one in found]

    def rewind(self, rewinds: Iterable[tuple[int, int, int]]) -> dict[int, int]:
        epochs: dict[int, int] = {}
        for part, epoch, first in rewinds:
            shard = self.shards[part]
            if shard.epoch == epoch:
                epochs[part] = shard.epoch = epoch + 1
                shard.first_offset = shard.next_offset = first
                shard.verdicts = 0
        return epochs

    def logged(self, sagas: Iterable[tuple[str, int]]) -> list[tuple[str, int, bytes]]:
        since_ms = self.now_ms() - 600_000
        return [
            (saga_id, entry.version, entry.data)
            for saga_id, version in sagas
            for entry in self.log.get(saga_id, ())
            if entry.version == version and entry.at_ms > since_ms
        ]

    def fetch(self, name: str, arguments: Sequence[Any]) -> list[Any]:
        """One of the statements that the recovery worker calls by name."""
        match name:
            case "claim_dead_letters":
                return self._claim_letters(*arguments)
            case "mark_redriven":
                for letter_id, try_ in zip(*arguments, strict=True):
                    letter = self.letters[letter_id - 1]
                    if letter.tries == try_ and letter.state == "redriven":
                        letter.next_try_ms = None
                return []
            case _:
                raise NotImplementedError(name)

    def _claim_letters(
        self,
        parts: Collection[int],
        count: int,
        known_ids: Collection[int],
        limit: int,
        lease_ms: int,
        again_ms: int,
        topic: str,
    ) -> list[dict[str, Any]]:
        now_ms = self.now_ms()
        due = [
            letter
            for letter in self.letters
            if letter.next_try_ms is not None
            and letter.next_try_ms <= now_ms
            and letter.topic == topic
            and letter.partition % count in parts
        ]
        due.sort(key=lambda letter: letter.next_try_ms or 0)
        claimed = []
        for letter in due[:limit]:
            row = self.sagas.get(letter.saga_id or "")
            known = row is not None and row.definition_id in known_ids
            ready = letter.state == "redriven" or letter.reason != "definition_unknown" or known
            letter.next_try_ms = now_ms + (lease_ms if ready else again_ms)
            if ready:
                letter.tries += letter.state == "open"
                letter.state = "redriven"
                claimed.append(letter)
        claimed.sort(key=lambda letter: letter.first_offset or 0)
        return [msgspec.structs.asdict(letter) for letter in claimed]


def _earlier(one: int | None, other: int) -> int:
    return other if one is None else min(one, other)
