"""Everything that reaches into what aiokafka does not promise: an upgrade has this one file to check.

Each function says which gap it closes. All of it was read in, and is tested against, aiokafka 0.14.
"""

# ruff: noqa: SLF001

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import ConnectionGroup
from aiokafka.errors import KafkaError
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.structs import OffsetAndMetadata, TopicPartition

READ_UNCOMMITTED = 0
READ_COMMITTED = 1


class RawFetch(NamedTuple):
    """One partition's part of a fetch response, not decoded: `aborted` holds (producer id, first offset) pairs."""

    error_code: int
    high_watermark: int
    aborted: list[tuple[int, int]]
    data: bytes


def enqueue(producer: AIOKafkaProducer, batch: Any, partition: TopicPartition) -> asyncio.Future[Any]:
    """Queue a closed batch and return the future of its acknowledgement.

    send_batch() waits while an older batch of the partition is queued, and wakes the waiters in any order; queueing
    directly keeps the order of the calls and costs no suspension. The bytes in flight are bounded by our Publisher.
    """
    accumulator = producer._message_accumulator
    if accumulator._exception is not None:
        raise accumulator._exception
    future: asyncio.Future[Any] = accumulator._append_batch(batch, partition).future
    return future


def partition_exists(producer: AIOKafkaProducer, partition: TopicPartition) -> bool:
    """Ask the cached metadata; a batch for an unknown partition would wait in the queue and then spoil its sequence."""
    return partition.partition in (producer.client.cluster.partitions_for_topic(partition.topic) or ())


async def abandon_producer(producer: AIOKafkaProducer, reason: str, timeout_s: float) -> None:
    """Stop a producer without flushing it: all its batches fail now, and none of them is sent later.

    stop() flushes first, and an idempotent producer never gives a batch up, so it hangs while the broker is down.
    """
    producer._closed = True
    _fail_all_batches(producer._message_accumulator, KafkaError(reason))
    sender = producer._sender.sender_task
    if sender is not None:
        sender.remove_done_callback(producer._sender._fail_all)  # it trips when there is no transaction
        sender.cancel()
    await _bounded([producer.client.close()], timeout_s)
    if sender is not None:
        await _bounded([sender], timeout_s)


def _fail_all_batches(accumulator: Any, error: KafkaError) -> None:
    """Do what fail_all() does, without the stray errors it leaves for batches that were being retried or waited for."""
    queued = [batch for batches in accumulator._batches.values() for batch in batches]
    accumulator._pending_batches.update(queued)
    accumulator._batches.clear()
    accumulator._exception = error
    accumulator.reenqueue = lambda _batch: None
    for batch in accumulator._pending_batches:
        batch.failure(error)
        batch._drain_waiter.exception()


async def close_consumer(consumer: AIOKafkaConsumer, fetching: asyncio.Task[Any] | None, timeout_s: float) -> None:
    """Stop a consumer within about `timeout_s`; `fetching` is its unfinished getmany call, cancelled at the very end.

    stop() waits for its background tasks and for the coordinator's answer, neither of which needs to come; and it
    gives up halfway, with connections open, when one of these tasks had died of an error.
    """
    stopped = await _bounded([consumer.stop()], timeout_s)
    if not stopped:
        tasks = [getattr(consumer._fetcher, "_fetch_task", None)]
        coordinator = consumer._coordinator
        tasks += [
            getattr(coordinator, f"_{name}_task", None) for name in ("coordination", "heartbeat", "commit_refresh")
        ]
        alive = [task for task in tasks if task is not None]
        for task in alive:
            task.cancel()
        await _bounded([*alive, consumer._client.close()], 1.0)
    if fetching is not None:
        fetching.cancel()
        await _bounded([fetching], 1.0)


async def _bounded(work: Iterable[Awaitable[Any]], timeout_s: float) -> bool:
    """Wait for all of `work`, cancel what is late, swallow what it raises; True when all ended well and in time."""
    futures = [asyncio.ensure_future(one) for one in work]
    if not futures:
        return True
    done, late = await asyncio.wait(futures, timeout=timeout_s)
    for future in late:
        future.cancel()
    if late:
        await asyncio.wait(late, timeout=0.2)
    failed = [future for future in done if future.cancelled() or future.exception() is not None]
    return not late and not failed


def broken(consumer: AIOKafkaConsumer) -> str | None:
    """Say which background task has ended: aiokafka goes on answering "nothing new" for ever then."""
    for owner, name in ((consumer._fetcher, "_fetch_task"), (consumer._coordinator, "_coordination_task")):
        task: asyncio.Task[Any] | None = getattr(owner, name, None)
        if task is not None and task.done():
            error = None if task.cancelled() else task.exception()
            return f"aiokafka's {name.strip('_')} ended: {error!r}"
    return None


def position(consumer: AIOKafkaConsumer, partition: TopicPartition) -> int | None:
    """Read the position at once; the public method waits for one to be known.

    None also while an unreadable fetch is to be reported: aiokafka has then stepped over an offset by itself.
    """
    subscription = consumer._subscription.subscription
    assignment = None if subscription is None else subscription.assignment
    state = None if assignment is None else assignment.state_value(partition)
    if state is None or not state.has_valid_position:
        return None
    if type(consumer._fetcher._records.get(partition)).__name__ == "FetchError":
        return None
    found: int = state.position
    return found


def after_failed_getmany(consumer: AIOKafkaConsumer) -> list[TopicPartition]:
    """Mend the books after a call of getmany has raised; return the suspects, the likeliest first.

    Its context manager has no `finally`: the counter of running fetches stays up for good. And the buffer of the
    partition that made it raise is still the first one, because those before it were emptied and taken out.
    """
    consumer._subscription._fetch_count = 0
    return [tp for tp in consumer._fetcher._records if isinstance(tp, TopicPartition)]


def member_id(consumer: AIOKafkaConsumer) -> str:
    """Our name in the group; empty when the broker does not know us any more."""
    return getattr(consumer._coordinator, "member_id", "")


async def commit_once(consumer: AIOKafkaConsumer, offsets: dict[TopicPartition, int]) -> None:
    """Store offsets, or raise; commit() retries for ever, and cancelling it leaves an error that nobody fetches."""
    subscription = consumer._subscription.subscription
    assignment = None if subscription is None else subscription.assignment
    coordinator = consumer._coordinator
    wanted = {tp: OffsetAndMetadata(offset, "") for tp, offset in offsets.items()}
    await coordinator.ensure_coordinator_known()
    async with coordinator._commit_lock:
        await coordinator._do_commit_offsets(assignment, wanted)


def way(consumer: AIOKafkaConsumer, partition: TopicPartition) -> object | None:
    """The connection over which a partition is fetched now; another object after each loss, None while there is none.

    aiokafka connects again without a word, and does not know the leader's epoch.
    """
    leader = consumer._client.cluster.leader_for_partition(partition)
    connection = consumer._client._conns.get((leader, ConnectionGroup.DEFAULT))
    return connection if connection is not None and connection.connected() else None


async def fetch_raw(
    consumer: AIOKafkaConsumer, partition: TopicPartition, offset: int, max_bytes: int, isolation: int = READ_COMMITTED
) -> RawFetch:
    """Fetch one partition's bytes as they are stored, over the consumer's own connections."""
    leader = consumer._client.cluster.leader_for_partition(partition)
    if leader is None or leader == -1:
        raise KafkaError(f"{partition.topic}-{partition.partition} has no leader")
    wanted = [(partition.topic, [(partition.partition, offset, max_bytes)])]
    request = FetchRequest(100, 1, max_bytes, isolation, wanted, rack_id="")
    response = await consumer._client.send(leader, request)
    for _topic, partitions in response.topics:
        for _partition, error_code, high_watermark, *rest in partitions:
            aborted = rest[2] if response.API_VERSION >= 11 else rest[-2]
            return RawFetch(error_code, high_watermark, list(aborted or ()), bytes(rest[-1] or b""))
    raise KafkaError("an empty fetch response")


async def partition_counts(admin: AIOKafkaAdminClient, topics: list[str]) -> dict[str, int]:
    """Count the partitions of those topics that exist; describe_topics() would have a broker create the others."""
    answer = await admin._send_request(MetadataRequest(topics, allow_auto_topic_creation=False))
    found = {topic["topic"]: topic for topic in answer.to_object()["topics"]}
    return {name: len(topic["partitions"]) for name, topic in found.items() if not topic["error_code"]}
