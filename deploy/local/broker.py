"""What every local Kafka can do, whichever way it runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError

from deploy.local.choice import LocalStackError
from deploy.local.waiting import run_async

KAFKA_VERSION = "4.1.0"


class Broker(ABC):
    """A Kafka that is ready for use; methods that this kind cannot do raise LocalStackError."""

    kind: str
    durable: bool
    """True for real Kafka: several members per group, records outlive a kill."""

    def __init__(self, bootstrap_servers: str, description: str) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.description = description

    def create_topics(self, partitions: Mapping[str, int]) -> None:
        """Create topics (name -> partition count, replication 1); those that exist stay as they are."""
        run_async(_create_topics(self.bootstrap_servers, partitions))

    def stop(self) -> None:
        """Stop it in an orderly way; `start` brings it back with the same address and data."""
        raise self._not_ours("stop")

    def kill(self) -> None:
        """End it at once, as kill -9 does; `start` brings it back with the same address and data."""
        raise self._not_ours("kill")

    def start(self) -> None:
        """Start it again after `stop` or `kill` and wait until it serves."""
        raise self._not_ours("start")

    def pause(self) -> None:
        """Freeze it: connections stay open, nothing is answered."""
        raise self._not_ours("pause")

    def resume(self) -> None:
        """Let it go on after `pause`."""
        raise self._not_ours("resume")

    def facts(self) -> dict[str, Any]:
        """Return what another process needs in order to use this broker, as JSON."""
        return {
            "kind": self.kind,
            "durable": self.durable,
            "bootstrap_servers": self.bootstrap_servers,
            "description": self.description,
        }

    @abstractmethod
    def close(self) -> None:
        """End it for good; its data is not needed any more."""

    def _not_ours(self, verb: str) -> LocalStackError:
        return LocalStackError(
            f"cannot {verb} this Kafka ({self.kind}): another owner runs it. Start a LocalStack of your own"
        )


class ForeignBroker(Broker):
    """A broker that somebody else runs: it can be used, not steered."""

    def __init__(self, bootstrap_servers: str, description: str, *, kind: str = "external") -> None:
        super().__init__(bootstrap_servers, description)
        self.kind = kind
        self.durable = True

    def close(self) -> None:
        """Leave it running."""


async def _create_topics(bootstrap_servers: str, partitions: Mapping[str, int]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        # The answer carries its errors as data: nothing raises by itself.
        answer = await admin.create_topics([NewTopic(name, count, 1) for name, count in partitions.items()])
        for name, code, *detail in answer.topic_errors:
            if code not in (0, TopicAlreadyExistsError.errno):
                raise LocalStackError(f"topic {name} was not created: error {code} {detail}")
    finally:
        await admin.close()
