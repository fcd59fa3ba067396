"""Parts of a process that follow from the settings alone, and the real clock and dice."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import Sequence

from coordinator.api.access import Anybody, Authenticator, Mode
from coordinator.api.authentication import Tokens
from coordinator.api.limiting import Buckets
from coordinator.api.listening import check_exposure
from coordinator.engine.flow import Flow
from coordinator.engine.registry import Registry
from coordinator.engine.topology import Topology
from coordinator.errors import ConfigurationError
from coordinator.kafka.connection import Security
from coordinator.kafka.topics import TopicSpec
from coordinator.saga.definition import Retry, seconds
from coordinator.services.keyring import KeyRing
from coordinator.services.oidc import Issuer
from coordinator.settings import Settings

# By a sender's clock Kafka refuses records from the future, and removes those from the past at once.
TIMESTAMPS = ("message.timestamp.type", "LogAppendTime")


class SystemClock:
    """The real monotonic clock."""

    def monotonic(self) -> float:
        """Seconds that only go forward."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class SystemChance:
    """Real dice."""

    def __init__(self) -> None:
        self._random = random.Random(secrets.randbits(128))  # noqa: S311 - jitter and ids, not secrets

    def roll(self) -> float:
        """A number in [0, 1)."""
        return self._random.random()

    def bits(self, count: int) -> int:
        """So many random bits."""
        return self._random.getrandbits(count)


def flow(settings: Settings, registry: Registry) -> Flow:
    """Flow control for the participants that there are; raises ConfigurationError when a limit is for another."""
    strangers = sorted(set(settings.flow.participants) - set(registry.participants))
    if strangers:
        known = ", ".join(registry.participants)
        raise ConfigurationError(
            f"SAGA_FLOW__PARTICIPANTS: no definition has a participant {strangers[0]!r}; there are: {known}"
        )
    return Flow(settings.flow, registry.participants)


def mode(settings: Settings) -> Mode:
    """How to tell who asks; raises ConfigurationError where strangers could reach what asks nobody for a token."""
    api = settings.api
    authenticated = api.authentication == "required" or settings.oidc.issuer is not None
    check_exposure(api.host, api.insecure, authenticated=authenticated)
    if api.insecure:
        return Mode.INSECURE
    return Mode.REQUIRED if authenticated else Mode.LOOPBACK


def authenticator(settings: Settings, ring: KeyRing) -> Authenticator:
    """What tells who asks; raises ConfigurationError."""
    chosen, api, clock = mode(settings), settings.api, SystemClock()
    if chosen is Mode.INSECURE:
        return Anybody()
    issuer = None if settings.oidc.issuer is None else Issuer(settings.oidc, clock)
    asked = Buckets(api.rate_per_second, api.rate_burst, clock.monotonic)
    failed = Buckets(api.failures_per_second, api.failures_burst, clock.monotonic)
    return Tokens(chosen, ring, issuer, asked, failed)


def security(settings: Settings) -> Security:
    """How to log in to Kafka."""
    kafka = settings.kafka
    return Security(
        protocol=kafka.security_protocol,
        mechanism=kafka.sasl_mechanism,
        username=kafka.username,
        password=kafka.password.get_secret_value() if kafka.password is not None else None,
        ca_file=kafka.ca_file,
    )


def recovery(settings: Settings) -> Retry:
    """How often, and when, dead letters are sent again by themselves."""
    given = settings.recovery
    return Retry(given.tries, seconds(given.base_seconds), given.factor, seconds(given.cap_seconds))


def topic_specs(settings: Settings, participants: list[str], sources: Sequence[str] = ()) -> list[TopicSpec]:
    """The topics that the settings and definitions ask for; `sources` say events of choreographies."""
    kafka = settings.kafka
    configs = {
        "cleanup.policy": "delete",
        "retention.ms": str(kafka.retention_hours * 3_600_000),
        TIMESTAMPS[0]: TIMESTAMPS[1],
    }
    topology = Topology(settings.topic_prefix, {})
    wanted = [
        (topology.replies, kafka.replies_partitions),
        (topology.events, kafka.events_partitions),
        (topology.dead_letters, kafka.dead_letter_partitions),
        *((topology.commands(participant), kafka.commands_partitions) for participant in participants),
        *((topology.domain_events(source), kafka.events_partitions) for source in sources),
    ]
    return [TopicSpec(name, count, kafka.replication, configs) for name, count in wanted]
