"""The whole app in this process, over a real database and real topics, asked by people of every role."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
from starlette.types import Scope

from coordinator.api.access import Mode, Principal, Role
from coordinator.api.cursors import Cursors
from coordinator.api.routes import Declared
from coordinator.choreography.choreographies import Choreographies
from coordinator.choreography.replaying import Replays
from coordinator.engine.clock import DatabaseClock
from coordinator.engine.flow import Flow
from coordinator.engine.letters import headers_json
from coordinator.kafka.lags import Lag
from coordinator.observability.metrics import Metrics
from coordinator.parts import SystemChance
from coordinator.services.batch_operations import BatchOperations
from coordinator.services.incidents import IncidentService
from coordinator.services.letters import LetterService
from coordinator.services.participants import ParticipantService
from coordinator.settings import ApiSettings, FlowSettings
from coordinator.store.answers import KeptAnswers
from coordinator.store.batches import BatchStore
from coordinator.store.letters import LetterReads
from tests.integration.api.office import Office, SystemClock
from tests.unit.api.hall import hall

CLUSTER = "here"
REPLY_HEADERS = [
    ("ce_specversion", b"1.0"),
    ("ce_type", b"SagaStepCompleted"),
    ("ce_id", b"reply-1"),
    ("ce_source", b"inventory"),
    ("content-type", b"application/json"),
]


class Roles:
    """Takes the word after `Bearer` for the role, and what stands behind an @ for the one definition of theirs."""

    mode = Mode.REQUIRED

    async def authenticate(self, scope: Scope) -> Principal:
        """Tell who asks."""
        role = dict(scope["headers"])[b"authorization"].decode().removeprefix("Bearer ")
        role, _, definition = role.partition("@")
        return Principal(f"the {role}", Role(role), frozenset({definition}) if definition else None)


class Desk:
    """A client of the app."""

    def __init__(self, office: Office, client: httpx.AsyncClient, routes: list[Declared], flow: Flow) -> None:
        self.office = office
        self.client = client
        self.routes = routes
        self.flow = flow

    async def get(self, path: str, role: str = "operator") -> httpx.Response:
        """Look at something."""
        return await self.client.get(path, headers={"authorization": f"Bearer {role}"})

    async def post(
        self, path: str, body: Mapping[str, Any], role: str = "operator", if_match: str | None = None
    ) -> httpx.Response:
        """Do something."""
        headers = {"authorization": f"Bearer {role}"} | ({} if if_match is None else {"if-match": if_match})
        return await self.client.post(path, json=body, headers=headers)

    async def letter(
        self, value: bytes | None, key: bytes | None = None, headers: Any = REPLY_HEADERS, saga_id: str | None = None
    ) -> int:
        """Let a record be set aside; answers the letter's id."""
        rows = await self.office.ask(
            "INSERT INTO dead_letter (kind, reason, detail, cluster_id, topic, partition, first_offset, next_offset,"
            " key, value, value_length, headers, saga_id, complete)"
            " SELECT 'record', 'schema', 'attempt: no number', $1, $2, 0, place, place + 1, $3, $4, $5, $6, $7, true"
            " FROM (SELECT count(*) AS place FROM dead_letter) AS next RETURNING id",
            *(CLUSTER, self.office.topology.replies, key, value, None if value is None else len(value)),
            *(headers_json(headers), saga_id),
        )
        return int(rows[0]["id"])

    async def incident(self, saga_id: str, reason: str = "late", version: int = 1, step: str | None = None) -> int:
        """Open an incident; answers its id."""
        rows = await self.office.ask(
            "INSERT INTO incident (saga_id, saga_version, reason, step_name, detail)"
            " VALUES ($1, $2, $3, $4, 'why') RETURNING id",
            *(saga_id, version, reason, step),
        )
        return int(rows[0]["id"])

    async def audit(self, letter_id: int | None = None, subject: str | None = None) -> list[tuple[Any, ...]]:
        """Read what the audit says: actor, action, reason, request, before and after."""
        rows = await self.office.ask(
            "SELECT actor, action, reason, request_id <> '' AS asked, state_before, state_after FROM audit_log"
            " WHERE letter_id = $1 OR subject = $2 ORDER BY id",
            *(letter_id, subject),
        )
        return [
            (
                row["actor"],
                row["action"],
                row["reason"],
                row["asked"],
                _tree(row["state_before"]),
                _tree(row["state_after"]),
            )
            for row in rows
        ]


@asynccontextmanager
async def open_desk(office: Office) -> AsyncIterator[Desk]:
    """Give the app of an office."""
    choreographies = Choreographies()

    flow = Flow(FlowSettings(), office.registry.participants)
    now = DatabaseClock(SystemClock())
    now.observe(await office.store.now_ms())

    async def ask_lags(groups: Mapping[str, str]) -> dict[str, Lag]:
        return dict.fromkeys(groups, Lag(7))

    async def gone(*_place: Any) -> None:
        return None

    app = hall(
        Roles(),
        service=office.service,
        replays=Replays(office.store, office.reads, choreographies, SystemClock()),
        choreographies=choreographies,
        incidents=IncidentService(office.store, office.reads, office.service),
        letters=LetterService(
            *(office.store, LetterReads(office.reads), office.bus, office.topology, office.registry),
            *(Metrics(), CLUSTER, gone),
        ),
        reads=office.reads,
        registry=office.registry,
        participants=ParticipantService(
            *(
                office.reads,
                flow,
                office.topology,
                SystemClock(),
                now,
                "the desk",
                "{prefix}{participant}",
                ask_lags,
            ),
        ),
        batches=BatchOperations(BatchStore(office.store, office.reads), office.reads, SystemChance(), 1_000),
        answers=KeptAnswers(office.store),
        limits=ApiSettings(),
        cursors=Cursors(b"x" * 32),
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        yield Desk(office, client, app.state.routes.declared, flow)


def reply(saga_id: str, **changes: Any) -> bytes:
    """Make the value of a reply that is fine, but for the changes."""
    step = "reserve_inventory"
    said = {"saga_id": saga_id, "step_name": step, "command_id": f"{saga_id}:1:{step}:action", "attempt": 1}
    return json.dumps(said | {"result": {"reservation_id": "r-1"}} | changes).encode()


def _tree(text: str | None) -> Any:
    return None if text is None else json.loads(text)
