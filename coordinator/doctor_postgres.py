"""The checks of `saga doctor` that ask Postgres."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Final

from coordinator.errors import ConfigurationError
from coordinator.findings import Finding, State
from coordinator.settings import Settings
from coordinator.store import migrations
from coordinator.store.database import check_durability, connect
from coordinator.store.reads import DefinitionUse, SagaReads
from coordinator.store.replicas import LIVE_S
from coordinator.store.roles import FUNCTIONS, needed_rights

CLOCK_WARN_S: Final = 2.0
UNSENT_WARN_S, UNSENT_BAD_S = 10.0, 60.0
LOG_DAYS_BAD, LOG_DAYS_WARN = 2, 7


class PostgresChecks:
    """Each check answers findings, or raises a SagaError that is one."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.database.url.get_secret_value()
        self._reads = SagaReads(self._url, 1)

    async def stop(self) -> None:
        """Close the connection."""
        await self._reads.stop()

    async def database(self) -> list[Finding]:
        """It answers, and keeps what it acknowledges."""
        connection = await connect(self._url, engine=False)
        try:
            await check_durability(connection)
            row = await connection.fetchrow(
                "SELECT current_database() AS name, current_user AS role, current_setting('server_version') AS version"
            )
        except ConfigurationError as error:
            return [Finding("database", State.BAD, str(error), "set it to on in postgresql.conf, and reload")]
        finally:
            await connection.close()
        assert row is not None  # noqa: S101 - the statement has one row
        said = f"{row['name']} answers to role {row['role']}, PostgreSQL {row['version']}"
        return [Finding("database", State.OK, said)]

    async def migrations(self) -> list[Finding]:
        """It has the tables of this version."""
        wanted, found = await asyncio.to_thread(migrations.head), await self._reads.migration()
        if found == wanted:
            return [Finding("migrations", State.OK, f"at {found}, the newest of this version")]
        if found is not None and found > wanted:
            said = f"at {found}, which is newer than {wanted}, the newest of this version"
            return [Finding("migrations", State.BAD, said, "use the version that the database was migrated with")]
        said = f"at {found or 'none'}, this version wants {wanted}"
        return [Finding("migrations", State.BAD, said, "run `saga migrate`")]

    async def rights(self) -> list[Finding]:
        """The role may do what a coordinator does, and could not rewrite the audit."""
        missing = [row["missing"] for row in await self._reads.fetch("missing_rights", *needed_rights(), FUNCTIONS)]
        if missing:
            advice = (
                "run `saga migrate` with the owner's URL in SAGA_DATABASE__MIGRATION_URL: it gives the role its rights;"
                f" or let the owner run GRANT {missing[0].replace(' on ', ' ON ')} TO the role, and so on"
            )
            return [Finding("rights", State.BAD, f"the role lacks {', '.join(missing)}", advice)]
        who = (await self._reads.fetch("own_standing"))[0]
        if who["is_mighty"]:
            said = f"role {who['role']} owns the tables or is a superuser: it could change the audit"
            advice = (
                "put the owner's URL in SAGA_DATABASE__MIGRATION_URL and another role in SAGA_DATABASE__URL, then run"
                " `saga migrate`, which makes that role"
            )
            return [Finding("rights", State.WARN, said, advice)]
        return [_ok("rights", f"role {who['role']} may do what a coordinator does, and no more")]

    async def log_days(self) -> list[Finding]:
        """The log has partitions for the days to come."""
        days = await self._reads.log_days_ahead()
        said = f"the saga log has partitions for {days} days ahead"
        advice = "an engine makes them hourly: look whether one runs, and for log_days in its log"
        if days < LOG_DAYS_BAD:
            return [Finding("log days", State.BAD, said, advice)]
        return [Finding("log days", State.WARN, said, advice) if days < LOG_DAYS_WARN else _ok("log days", said)]

    async def clock(self) -> list[Finding]:
        """Both clocks, of this machine and of Postgres, have the same time; Kafka's is asked by nobody."""
        await self._reads.ping()  # so that the time to connect is not counted
        before = time.time()
        now_ms = (await self._reads.fetch("now"))[0]["now_ms"]
        after = time.time()
        apart = max(before - now_ms / 1000, now_ms / 1000 - after, 0.0)
        kafka = Finding("clock of Kafka", State.SKIPPED, "Kafka tells nobody its time, and nothing here goes by it")
        if apart > CLOCK_WARN_S:
            advice = "set both by NTP: the coordinator goes by Postgres, its operators and participants by theirs"
            return [Finding("clock", State.WARN, f"this machine and Postgres are {apart:.1f} s apart", advice), kafka]
        return [_ok("clock", f"this machine and Postgres agree within {CLOCK_WARN_S:g} s"), kafka]

    async def relay(self) -> list[Finding]:
        """What is committed reaches Kafka."""
        row = (await self._reads.fetch("oldest_unsent"))[0]
        said = f"{row['messages']} messages wait for Kafka, the oldest for {row['age_s']:.0f} s"
        advice = "look whether Kafka answers the coordinator and an engine runs: it sends them by itself"
        if row["age_s"] >= UNSENT_BAD_S:
            return [Finding("relay", State.BAD, said, advice)]
        return [Finding("relay", State.WARN, said, advice) if row["age_s"] >= UNSENT_WARN_S else _ok("relay", said)]

    async def versions(self, loaded: Sequence[tuple[str, int, str]]) -> list[Finding]:
        """What is loaded here is what the live replicas run."""
        uses = await self._reads.definitions(LIVE_S)
        replicas = max((use.replicas for use in uses), default=0)
        if not replicas:
            advice = "start one: saga serve; those that run are counted while they are seen every few seconds"
            return [Finding("versions", State.WARN, "no coordinator is live", advice)]
        known = {(use.name, use.version, use.content_hash or ""): use for use in uses}
        findings = [finding for each in loaded for finding in _compared(each, known)]
        return findings or [_ok("versions", f"all of {len(loaded)} versions are known by {replicas} live replicas")]

    async def owners(self, partitions: int) -> list[Finding]:
        """Every partition of the reply topic has an owner that is live."""
        live = {row["part"] for row in await self._reads.fetch("owned_shards", LIVE_S) if row["live"]}
        lacking = [part for part in range(partitions) if part not in live]
        if lacking:
            shown = ", ".join(map(str, lacking))
            advice = "start an engine (saga serve); if one runs, look at its log for the consumer group"
            said = f"{len(lacking)} of {partitions} partitions have no live owner: {shown}"
            return [Finding("owners", State.BAD, said, advice)]
        return [_ok("owners", f"each of {partitions} partitions has a live owner")]

    async def read_until(self) -> dict[int, int]:
        """How far each partition of the reply topic was read."""
        return {row["part"]: row["next_offset"] for row in await self._reads.fetch("owned_shards", LIVE_S)}


def _compared(loaded: tuple[str, int, str], known: Mapping[tuple[str, int, str], DefinitionUse]) -> list[Finding]:
    name, version, _ = loaded
    title = f"{name} version {version}"
    use = known.get(loaded)
    if use is not None and use.known_by == use.replicas:
        return []
    if use is not None:
        said = f"{title} is known by {use.known_by} of {use.replicas} live replicas; it starts no sagas until all do"
        return [Finding("versions", State.WARN, said, "finish the roll-out of this version to all replicas")]
    if any(key[:2] == loaded[:2] for key in known):
        said = f"{title} has another content here than where it runs"
        advice = "give the changed definition a new version, or load here what is loaded there"
        return [Finding("versions", State.BAD, said, advice)]
    said = f"{title} is loaded here and known by no replica"
    return [Finding("versions", State.WARN, said, "roll it out: saga serve with these definitions")]


def _ok(check: str, found: str) -> Finding:
    return Finding(check, State.OK, found)
