"""A participant's process: poll, do the batch in Postgres, publish the replies, commit offsets; again.

    poll -> one transaction -> publish (overlaps with the next batch) -> commit offsets (twice a second)

Nothing is published before its commit, no offset is committed before its batch's replies are with Kafka or safely in
the outbox. What a crash can cost is a duplicate: commands come again and are answered from memory.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

import asyncpg
import structlog
import uvloop
from aiokafka import TopicPartition

from coordinator.wire.inbound import InboundCommand
from coordinator.wire.strict_json import Refused
from participants.kit import logs
from participants.kit.consumer import Consumer, Polled
from participants.kit.database import UNREACHABLE, Database, InstanceTaken, create_tables, hold_instance
from participants.kit.faults import crash
from participants.kit.inbox import DeadLetter, Record, letter, read
from participants.kit.ledger import postponed
from participants.kit.outbox import Outbox
from participants.kit.participant import Participant
from participants.kit.publisher import Publisher
from participants.kit.reactions import PostponedRecord, events_topic, read_event
from participants.kit.settings import Settings, SettingsWrong, read_settings
from participants.kit.statements import statement
from participants.kit.traces import Traces
from participants.kit.work import Batch, Worker

log = structlog.get_logger()

COMMIT_SECONDS: Final = 0.5
TIDY_SECONDS: Final = 1.0
SWEEP_SECONDS: Final = 2.0
AGAIN_SECONDS: Final = 0.5
AGAIN_MAX: Final = 100
WATCH_SECONDS: Final = 5.0
PRUNE_SECONDS: Final = 600.0
PRUNE_MAX: Final = 1_000
STOP_SECONDS: Final = 5.0


class Runner:
    """Everything one participant process consists of; `run` comes back after `stop.set()`."""

    def __init__(self, participant: Participant, settings: Settings, ready_file: Path | None = None) -> None:
        self.stop = asyncio.Event()
        self.counts: Counter[str] = Counter()
        self._participant = participant
        self._ready_file = ready_file
        self._instance = settings.participant.instance
        self._hot = Database(settings.database.url, participant.name)
        self._cold = Database(settings.database.url, participant.name)
        self._publisher = Publisher(settings.kafka, f"{settings.topic_prefix}{participant.name}")
        self._outbox = Outbox(self._publisher, self._cold, settings.participant.publications_max)
        self._traces = _traces(participant, settings)
        self._worker = Worker(participant, self._hot, self._traces)
        self._sources = {events_topic(settings.topic_prefix, source): source for source in participant.sources}
        self._events_topic = events_topic(settings.topic_prefix, participant.name)
        self._consumer = Consumer(
            settings, participant.name, self._on_assigned, self._on_revoked, event_topics=list(self._sources)
        )
        self._busy = asyncio.Lock()
        self._published: deque[tuple[dict[TopicPartition, int], asyncio.Task[None]]] = deque()
        self._offsets: dict[TopicPartition, int] = {}
        self._batches_seen = 0
        self._is_ready = False
        self._is_broken = False

    async def run(self) -> None:
        """Serve commands until told to stop; then finish the batch, publish, commit offsets and leave."""
        serving = asyncio.create_task(self._serve())
        stopping = asyncio.create_task(self.stop.wait())
        try:
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            # While servers are missing there may be no end to wait for: what is not committed may be dropped.
            await asyncio.wait({serving}, timeout=STOP_SECONDS if self._is_ready else 0)
        finally:
            serving.cancel()
            stopping.cancel()
            await asyncio.wait({serving, stopping}, timeout=STOP_SECONDS)
            await self._leave()
        if serving.done() and not serving.cancelled():
            serving.result()

    async def _serve(self) -> None:
        await create_tables(self._hot, self._participant)
        if self._instance is not None:
            await hold_instance(self._cold, self._participant, self._instance)
        await self._publisher.start()
        await self._outbox.adopt()
        await self._consumer.start(self.stop)
        loops = [
            asyncio.create_task(repeat(once, seconds))
            for once, seconds in (
                (self._commit_offsets, COMMIT_SECONDS),
                (self._tidy, TIDY_SECONDS),
                (self._sweep, SWEEP_SECONDS),
                (self._do_again, AGAIN_SECONDS),
                (self._watch, WATCH_SECONDS),
                (self.prune, PRUNE_SECONDS),
            )
        ]
        try:
            while not self.stop.is_set():
                polled = await self._consumer.poll()
                if polled.items:
                    async with self._busy:
                        await self._do(polled)
                elif self._is_broken:
                    await self._rebuild()
        finally:
            for loop in loops:
                loop.cancel()
            await asyncio.wait(loops)

    async def _watch(self) -> None:
        self._is_broken = self._consumer.is_broken()
        if not self._is_broken:
            await self._consumer.look_around()

    async def _rebuild(self) -> None:
        log.error("consumer_rebuilt")
        self._is_broken = False
        await self._consumer.stop()
        await self._consumer.start(self.stop)

    async def _do(self, polled: Polled) -> None:
        batch = await self._batch(polled)
        await self._worker.work(batch)
        self._outbox.forget(batch.acknowledged)
        if batch.crash == "after_commit":
            crash()
        task = await self._outbox.send(batch.outgoing, batch.crash)
        self._published.append((polled.offsets, task))
        self._batches_seen += 1
        self.counts["commands"] += len(batch.commands)
        self.counts["replies"] += len(batch.outgoing)

    async def _batch(self, polled: Polled) -> Batch:
        commands: list[InboundCommand] = []
        rejected: list[DeadLetter] = []
        strange: list[PostponedRecord] = []
        unreadable: list[PostponedRecord] = []
        for one in polled.items:
            item = one if isinstance(one, DeadLetter) else await self._read(one)
            if isinstance(item, DeadLetter):
                rejected.append(item)
                if isinstance(one, PostponedRecord):
                    unreadable.append(one)
            elif item is not None:
                commands.append(item)
            elif isinstance(one, PostponedRecord):
                strange.append(one)
        if rejected:
            self.counts["dead_letters"] += len(rejected)
            first = rejected[0]
            log.warning("records_are_no_commands", count=len(rejected), reason=first.reason, detail=first.detail)
        return Batch(commands, rejected, strange, unreadable, self._outbox.take_acknowledged())

    async def _read(self, record: Record) -> InboundCommand | DeadLetter | None:
        """Read a command, or an event as the command that it calls for; None when it is none of our business."""
        source = self._sources.get(record.topic)
        if source is None:
            return None if isinstance(record, PostponedRecord) else read(record)
        try:
            partitions = await self._publisher.partitions(self._events_topic)
            return read_event(record, self._participant, source, self._events_topic, partitions)
        except Refused as refusal:
            return letter(record, refusal)

    async def _do_again(self) -> None:
        """Handle events again that failed in a way that may pass."""
        if not self._sources:
            return
        async with self._cold.connection() as connection:
            records = await postponed(connection, AGAIN_MAX)
        if records:
            async with self._busy:
                await self._do(Polled(items=list(records)))

    async def _commit_offsets(self) -> None:
        while self._published and self._published[0][1].done():
            self._offsets.update(self._published.popleft()[0])
        if self._offsets:
            offsets, self._offsets = self._offsets, {}
            if not await self._consumer.commit(offsets):
                self._offsets = {**offsets, **self._offsets}

    async def _tidy(self) -> None:
        batches, self._batches_seen = self._batches_seen, 0
        if batches == 0:
            await self._outbox.delete_acknowledged()

    async def _sweep(self) -> None:
        await self._outbox.sweep()

    async def prune(self) -> None:
        """Forget commands and dead letters that are older than the participant's memory, in slices."""
        memory_s = self._participant.memory.total_seconds()
        for name in ("prune_commands", "prune_dead_letters"):
            tag = ""
            while tag != "DELETE 0":
                async with self._cold.connection() as connection:
                    tag = await connection.execute(statement(name), memory_s, PRUNE_MAX)
                log.info("memory_pruned", statement=name, rows=int(tag.removeprefix("DELETE ")))

    async def _on_assigned(self) -> None:
        await self._outbox.sweep(0.0)
        if not self._is_ready:
            self._is_ready = True
            if self._ready_file is not None:
                self._ready_file.write_text("ready\n", encoding="utf-8")
            print("ready", flush=True)  # noqa: T201 (what starts us waits for this line)

    async def _on_revoked(self) -> None:
        async with self._busy:
            await self._outbox.drain(STOP_SECONDS)
            await self._commit_offsets()
            self._published.clear()
            self._offsets.clear()

    async def _leave(self) -> None:
        await self._outbox.close(STOP_SECONDS)
        await self._commit_offsets()
        await self._consumer.stop()
        await self._publisher.stop()
        try:
            await asyncio.wait_for(self._outbox.delete_acknowledged(), STOP_SECONDS)
        except (*UNREACHABLE, asyncpg.PostgresError) as error:
            log.warning("acknowledged_replies_stay", error=repr(error))
        await asyncio.gather(self._hot.close(), self._cold.close())
        if self._traces is not None:
            await asyncio.to_thread(self._traces.stop)
        log.info("stopped", **self.counts)


def _traces(participant: Participant, settings: Settings) -> Traces | None:
    endpoint = settings.participant.tracing_endpoint
    topic = f"{settings.topic_prefix}{participant.name}.commands"
    return None if endpoint is None else Traces(endpoint, participant.name, topic)


async def repeat(once: Callable[[], Awaitable[None]], seconds: float) -> None:
    """Do something every so often, for ever: what goes wrong once is said, and does not end it."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await once()
        except (*UNREACHABLE, asyncpg.PostgresError) as error:
            log.warning("housekeeping_failed", what=once.__name__, error=repr(error))
        except Exception:
            log.exception("housekeeping_failed", what=once.__name__)


def main(participant: Participant, arguments: Sequence[str] | None = None) -> None:
    """Run a participant as a process, until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description=f"The participant {participant.name}.")
    parser.add_argument("--ready-file", type=Path, help="written when the first assignment is there")
    parser.add_argument("--instance", help="stable name within the group: a restart takes its place at once")
    options = parser.parse_args(arguments)
    try:
        _run(participant, options)
    except SettingsWrong as wrong:
        print(wrong, file=sys.stderr)  # noqa: T201 (a person reads this, before there is anything to log)
        sys.exit(2)
    except InstanceTaken as taken:
        sys.exit(str(taken))


def _run(participant: Participant, options: argparse.Namespace) -> None:
    settings = read_settings()
    if options.instance:
        mine = settings.participant.model_copy(update={"instance": options.instance})
        settings = settings.model_copy(update={"participant": mine})
    logs.configure(participant.name)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(participant, settings, options.ready_file))


async def _serve(participant: Participant, settings: Settings, ready_file: Path | None) -> None:
    runner = Runner(participant, settings, ready_file)
    loop = asyncio.get_running_loop()
    serving = asyncio.create_task(runner.run())
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, runner.stop.set)
    await serving
