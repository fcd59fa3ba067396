"""The demo as a client of the REST API: it starts sagas, looks at them, answers them, and lets stuck ones go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

import httpx

from deploy.demo.seen import Seen

TIMEOUT_S: Final = 10.0
HAS_MOVED: Final = (409, 412)  # not suspended, or waiting, any more; at another version than was seen


class ApiRefused(Exception):
    """The API does not answer, or with a problem; the message says which."""


class Moved(ApiRefused):
    """A saga is not what it was when it was looked at: look again."""


class Api:
    """The coordinator's REST API at `url`; use it inside `async with`."""

    def __init__(self, url: str) -> None:
        # Whatever proxy the environment names, it has no business between us and this machine.
        self._http = httpx.AsyncClient(base_url=url, timeout=TIMEOUT_S, trust_env=False)

    async def __aenter__(self) -> Self:
        """Connect when needed."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def start(self, definition: str, wanted: Mapping[str, Any]) -> None:
        """Start one saga of a definition with its input."""
        await self._ask("POST", "/v1/sagas", {"definition": definition, "input": wanted})

    async def start_many(self, definition: str, wanted: Sequence[Mapping[str, Any]]) -> None:
        """Start many sagas with one call, each with its input."""
        sagas = [{"definition": definition, "input": each} for each in wanted]
        answer = await self._ask("POST", "/v1/sagas/bulk", {"sagas": sagas})
        wrong = [item for item in answer["items"] if item["outcome"] not in {"created", "existing"}]
        if wrong:
            raise ApiRefused(f"POST /v1/sagas/bulk did not start every saga: {wrong[0]}")

    async def statuses(self, definition: str) -> dict[str, tuple[str, str]]:
        """Return (saga id, status) of every saga of a definition, by business key."""
        found: dict[str, tuple[str, str]] = {}
        query = f"/v1/sagas?definition={definition}&limit=200"
        cursor = ""
        while True:
            page = await self._ask("GET", query + cursor)
            found |= {saga["business_key"]: (saga["id"], saga["status"]) for saga in page["sagas"]}
            if page["next_cursor"] is None:
                return found
            cursor = f"&cursor={page['next_cursor']}"

    async def saga(self, saga_id: str) -> dict[str, Any]:
        """Return a saga with its steps, its incidents and its log."""
        return dict(await self._ask("GET", f"/v1/sagas/{saga_id}?include=log"))

    async def act(self, verb: str, seen: Seen, reason: str) -> None:
        """Let a suspended saga go on with a verb; raises Moved when it is not at the version that was seen any more."""
        await self._ask("POST", f"/v1/sagas/{seen.id}/{verb}", {"reason": reason, "expected_version": seen.version})

    async def complete(self, saga_id: str, step: str, result: Mapping[str, Any]) -> None:
        """Complete an external step; raises Moved when nobody waits for it any more."""
        await self._ask("POST", f"/v1/sagas/{saga_id}/steps/{step}/complete", {"result": result})

    async def fail(self, saga_id: str, step: str, code: str) -> None:
        """Refuse an external step; raises Moved when nobody waits for it any more."""
        await self._ask("POST", f"/v1/sagas/{saga_id}/steps/{step}/fail", {"code": code})

    async def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        try:
            answer = await self._http.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise ApiRefused(f"{method} {path} was not answered: {error!r}") from error
        if not answer.is_success:
            refusal = Moved if answer.status_code in HAS_MOVED else ApiRefused
            raise refusal(f"{method} {path} was answered {answer.status_code}: {answer.text[:500]}")
        return answer.json()
