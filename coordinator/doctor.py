"""Checks with the servers themselves, for whoever has a coordinator's settings: what is wrong, and what to do about it.

A check that needs what another one found missing is skipped, and says so; one that goes wrong is bad, and the next one
is done all the same. Nothing is written anywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Final, TypeAlias

from coordinator.definitions import load_choreographies, load_definitions
from coordinator.doctor_kafka import KafkaChecks
from coordinator.doctor_postgres import PostgresChecks
from coordinator.engine.registry import Registry
from coordinator.errors import ConfigurationError, SagaError
from coordinator.findings import Finding, State
from coordinator.saga.content import content_of
from coordinator.settings import Settings

CHECK_TIMEOUT_S: Final = 15.0
Look: TypeAlias = Callable[[], Awaitable[list[Finding]]]


class Doctor:
    """One examination of an installation."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._registry: Registry | None = None
        self._missing: dict[str, str] = {}

    async def examine(self) -> AsyncGenerator[Finding, None]:
        """All checks, in an order in which the first bad one is the place to begin."""
        yield self._load()
        async with contextlib.aclosing(self._with_servers()) as findings:
            async for finding in findings:
                yield finding

    def _load(self) -> Finding:
        settings = self._settings
        try:
            found = load_definitions(settings.definitions, settings.participants)
            self._registry = Registry(found)
            observed = load_choreographies(settings.choreographies)
        except SagaError as error:
            self._missing["definitions"] = "the definitions cannot be loaded"
            return Finding("definitions", State.BAD, str(error), "mend the definition, or SAGA_DEFINITIONS")
        said = f"{len(found)} definitions and {len(observed)} choreographies load"
        return Finding("definitions", State.OK, said)

    async def _with_servers(self) -> AsyncGenerator[Finding, None]:
        postgres = PostgresChecks(self._settings)
        kafka = KafkaChecks(self._settings, self._registry)
        checks: list[tuple[str, tuple[str, ...], Look]] = [
            ("database", (), postgres.database),
            ("migrations", ("database",), postgres.migrations),
            ("rights", ("database", "migrations"), postgres.rights),
            ("log days", ("database", "migrations"), postgres.log_days),
            ("clock", ("database",), postgres.clock),
            ("relay", ("database", "migrations"), postgres.relay),
            ("versions", ("database", "migrations", "definitions"), lambda: postgres.versions(self._contents())),
            ("kafka", (), kafka.kafka),
            ("topics", ("kafka", "definitions"), kafka.topics),
            ("owners", ("database", "migrations", "topics"), lambda: postgres.owners(kafka.replies)),
            ("lag", ("database", "migrations", "topics"), lambda: self._lag(postgres, kafka)),
            ("participants", ("topics",), kafka.participants),
        ]
        try:
            for check, needs, look in checks:
                for finding in await self._look(check, needs, look):
                    yield finding
        finally:
            await postgres.stop()

    async def _look(self, check: str, needs: tuple[str, ...], look: Look) -> list[Finding]:
        """Do a check whatever it comes to; what is bad is missing for the checks that need it."""
        lacking = [self._missing[need] for need in needs if need in self._missing]
        if lacking:
            self._missing[check] = lacking[0]
            return [Finding(check, State.SKIPPED, lacking[0])]
        try:
            findings = await asyncio.wait_for(look(), CHECK_TIMEOUT_S)
        except TimeoutError:
            found = f"no answer within {CHECK_TIMEOUT_S:g} s"
            findings = [Finding(check, State.BAD, found, _ADVICE.get(check, _ADVICE[""]))]
        except ConfigurationError as error:
            findings = [Finding(check, State.BAD, str(error), "mend the setting that is named")]
        except SagaError as error:
            findings = [Finding(check, State.BAD, str(error), _ADVICE.get(check, _ADVICE[""]))]
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a check, the others are done
            findings = [Finding(check, State.BAD, f"the check failed: {error!r}", _ADVICE[""])]
        if any(finding.state is State.BAD for finding in findings):
            self._missing[check] = f"the check {check!r} is bad"
        return findings

    def _contents(self) -> list[tuple[str, int, str]]:
        """Name, version and digest of all that is loaded here."""
        registry = self._registry
        assert registry is not None  # noqa: S101 - the check needs the definitions
        observed = [content_of(each) for each in load_choreographies(self._settings.choreographies)]
        return [(each.name, each.version, each.digest.hex()) for each in [*registry.contents, *observed]]

    async def _lag(self, postgres: PostgresChecks, kafka: KafkaChecks) -> list[Finding]:
        return kafka.behind(await postgres.read_until())


_ADVICE: Final = {
    "database": "look whether Postgres runs and whether SAGA_DATABASE__URL names it, with a role that may log in",
    "kafka": "look whether Kafka runs and whether SAGA_KAFKA__BOOTSTRAP_SERVERS and its login are right",
    "": "look at the server that is named, and ask again",
}
