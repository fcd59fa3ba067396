"""Create and inspect topics; asking about a topic never creates it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

import msgspec
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import IncompatibleBrokerVersion, KafkaError, TopicAlreadyExistsError, for_code

from coordinator.errors import ConfigurationError, Unavailable
from coordinator.kafka import inside
from coordinator.kafka.connection import Security, client_options

_CLIENT_ID = "saga-topics"
_RETRY_S = 0.3


class TopicSpec(msgspec.Struct, frozen=True):
    """A topic that must be there, with at least that many partitions; `configs` count only when it is created."""

    name: str
    partitions: int
    replication: int = 1
    configs: dict[str, str] = {}


async def ensure_topics(
    bootstrap_servers: str,
    specs: Sequence[TopicSpec],
    *,
    security: Security | None = None,
    timeout_s: float = 30.0,
) -> dict[str, int]:
    """Create what is missing and return {topic: partitions it really has}; more than wanted is fine.

    Raises ConfigurationError when a topic has fewer partitions than wanted or cannot be created, Unavailable when
    Kafka does not answer within `timeout_s`.
    """
    async with admin_client(bootstrap_servers, security, timeout_s) as admin:
        counts = await inside.partition_counts(admin, [spec.name for spec in specs])
        missing = [spec for spec in specs if spec.name not in counts]
        if missing:
            await _create(admin, missing, timeout_s)
        while len(counts) < len({spec.name for spec in specs}):  # brokers learn of a new topic one after the other
            await asyncio.sleep(0.05)
            counts = await inside.partition_counts(admin, [spec.name for spec in specs])
    for spec in specs:
        if counts[spec.name] < spec.partitions:
            raise ConfigurationError(
                f"the topic {spec.name} has {counts[spec.name]} partitions, the settings ask for {spec.partitions}:"
                " lower the setting, or add partitions to the topic while no saga is running"
            )
    return {spec.name: counts[spec.name] for spec in specs}


async def partition_counts(
    bootstrap_servers: str,
    topics: Iterable[str],
    *,
    security: Security | None = None,
    timeout_s: float = 10.0,
) -> dict[str, int]:
    """Return {topic: number of partitions}, without the topics that do not exist; may raise Unavailable."""
    async with admin_client(bootstrap_servers, security, timeout_s) as admin:
        return await inside.partition_counts(admin, list(topics))


async def cluster_id(bootstrap_servers: str, *, security: Security | None = None, timeout_s: float = 10.0) -> str:
    """Return the id that Kafka's storage was formatted with; offsets mean nothing in another cluster."""
    async with admin_client(bootstrap_servers, security, timeout_s) as admin:
        return str((await admin.describe_cluster())["cluster_id"])


async def topic_configs(
    bootstrap_servers: str,
    topics: Iterable[str],
    config: str,
    *,
    security: Security | None = None,
    timeout_s: float = 10.0,
) -> dict[str, str]:
    """Return {topic: what a setting of it is}, of the topics that may be asked about; may raise Unavailable."""
    asked = [ConfigResource(ConfigResourceType.TOPIC, topic, configs={config: None}) for topic in topics]
    async with admin_client(bootstrap_servers, security, timeout_s) as admin:
        try:
            answers = await admin.describe_configs(asked)
        except IncompatibleBrokerVersion:  # the broker in memory
            return {}
    return {
        name: entry[1]
        for answer in answers
        for code, _text, _kind, name, entries in answer.resources
        if code == 0
        for entry in entries
        if entry[0] == config
    }


async def _create(admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec], timeout_s: float) -> None:
    wanted = [
        NewTopic(spec.name, spec.partitions, spec.replication, topic_configs=dict(spec.configs)) for spec in specs
    ]
    try:
        answer = await admin.create_topics(wanted, timeout_ms=int(timeout_s * 1000))
    except (IncompatibleBrokerVersion, AttributeError) as error:  # it trips over a cluster without a controller
        names = ", ".join(spec.name for spec in specs)
        raise ConfigurationError(f"this broker creates no topics on request; create them by hand: {names}") from error
    for name, code, *text in answer.topic_errors:
        kind = for_code(code)
        if code and kind is not TopicAlreadyExistsError:
            sentence = text[0] if text and text[0] else kind.description
            refusal = Unavailable if kind.retriable else ConfigurationError
            raise refusal(f"the topic {name} could not be created: {sentence}")


@asynccontextmanager
async def admin_client(
    bootstrap_servers: str, security: Security | None, timeout_s: float
) -> AsyncIterator[AIOKafkaAdminClient]:
    """Connect, wait for a broker that is starting up, and bound everything by `timeout_s`."""
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + timeout_s
    try:
        async with asyncio.timeout_at(deadline_s):
            admin = await _connect(client_options(bootstrap_servers, _CLIENT_ID, security), deadline_s)
            try:
                yield admin
            finally:
                await admin.close()
    except (KafkaError, OSError, TimeoutError) as error:
        raise Unavailable(f"Kafka at {bootstrap_servers} does not answer: {error!r}") from error


async def _connect(options: dict[str, object], deadline_s: float) -> AIOKafkaAdminClient:
    while True:
        admin = AIOKafkaAdminClient(**options)
        try:
            await admin.start()
        except KafkaError:
            await admin.close()
            if asyncio.get_running_loop().time() + _RETRY_S > deadline_s:
                raise
            await asyncio.sleep(_RETRY_S)
        else:
            return admin
