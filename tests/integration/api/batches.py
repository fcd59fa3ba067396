"""What the tests of batch operations have in common: suspended sagas, dry runs, and waiting for an end."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any

from tests.integration.api.bad_requests import SAGAS
from tests.integration.api.server import Answer, Api, order

BATCHES = "/v1/batch-operations"
SUSPEND = """
UPDATE saga SET status = 'suspended', version = 2, wake_at = NULL, deadline = NULL WHERE id = ANY($1::uuid[])
"""
WAIT_S = 30.0


def suspended(api: Api, count: int) -> tuple[list[str], dict[str, Any]]:
    """Start sagas and suspend them; answers their ids, sorted, and a filter that finds them and no others."""
    since = api.fetch("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') AS at")
    mark = secrets.token_hex(6)
    ids: list[str] = []
    for first in range(0, count, 200):
        sagas = [order(f"batch-{mark}-{number}") for number in range(first, min(first + 200, count))]
        ids += [item["saga"]["id"] for item in api.post(f"{SAGAS}/bulk", {"sagas": sagas}).json["items"]]
    api.fetch(SUSPEND, ids)
    return sorted(ids), {"status": "suspended", "definition": "OrderFulfillment", "since": since[0]["at"]}


def dry_run(api: Api, verb: str, chosen: dict[str, Any], **members: Any) -> Answer:
    """Ask what would be done."""
    return api.post(BATCHES, {"verb": verb, "filter": chosen, "dry_run": True, **members})


def begin(api: Api, verb: str, chosen: dict[str, Any], **members: Any) -> Answer:
    """Make a dry run and confirm it."""
    bound = {name: value for name, value in members.items() if name in ("step", "resolution", "result")}
    dry = dry_run(api, verb, chosen, **bound)
    assert dry.status == 200, dry.body
    return confirm(api, verb, chosen, dry.json["confirmation"], **members)


def confirm(api: Api, verb: str, chosen: dict[str, Any], confirmation: str, **members: Any) -> Answer:
    """Begin what was confirmed."""
    body = {"verb": verb, "filter": chosen, "dry_run": False, "confirmation": confirmation, "reason": "repaired"}
    return api.post(BATCHES, {**body, **members})


def wait_until(api: Api, operation_id: str, met: Callable[[Any], bool]) -> Any:
    """Look at an operation until it is as it should be; answers how it is then."""
    until = time.monotonic() + WAIT_S
    while not met(found := api.get(f"{BATCHES}/{operation_id}").json):
        assert time.monotonic() < until, found
        time.sleep(0.05)
    return found


def acts(api: Api, ids: list[str], operation_id: str) -> list[int]:
    """How often each saga was acted on by an operation, sorted."""
    rows = api.fetch(
        "SELECT (SELECT count(*) FROM audit_log AS a WHERE a.saga_id = s.id AND a.request_id = $2) AS acts"
        " FROM unnest($1::uuid[]) AS s (id) ORDER BY 1",
        ids,
        f"batch:{operation_id}",
    )
    return [row["acts"] for row in rows]
