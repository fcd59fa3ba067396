"""Acts whose commit nobody heard of: the same request under its key finds what it did, and does what it did not."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from coordinator.errors import Unavailable
from tests.integration.api.desk import Desk, reply
from tests.integration.api.server import order

ACTS: dict[str, tuple[str, dict[str, Any], int]] = {
    "assign_incident": ("assign", {"assignee": "ann"}, 200),
    "note_incident": ("notes", {"text": "the carrier is slow"}, 200),
    "resolve_incident": ("resolve", {"reason": "the customer knows"}, 200),
    "redrive_dead_letter": ("redrive", {"reason": "the participant was mended"}, 202),
    "discard_dead_letter": ("discard", {"reason": "nobody wants it"}, 200),
}


class _Target:
    """An open incident, or an open letter, with everything that an act may change of it."""

    def __init__(self, desk: Desk, path: str, letter: int | None, subject: str | None) -> None:
        self.desk, self.path, self.letter, self.subject = desk, path, letter, subject

    async def post(self, act: str, headers: dict[str, str]) -> httpx.Response:
        """Do an act."""
        end, body, _ = ACTS[act]
        asking = {"authorization": "Bearer operator", **headers}
        return await self.desk.client.post(f"{self.path}/{end}", json=body, headers=asking)

    async def standing(self) -> tuple[Any, Any]:
        """How it stands, and what the audit says of it."""
        shown = (await self.desk.get(self.path)).json()
        return shown, await self.desk.audit(self.letter, self.subject)


async def _target(desk: Desk, act: str, number: str) -> _Target:
    saga_id = str((await desk.post("/v1/sagas", order(number))).json()["id"])
    if act.endswith("incident"):
        incident = await desk.incident(saga_id, "late")
        return _Target(desk, f"/v1/incidents/{incident}", None, f"incident:{incident}")
    letter = await desk.letter(reply(saga_id), saga_id.encode())
    return _Target(desk, f"/v1/dead-letters/{letter}", letter, None)


def _losing(desk: Desk, act: str, monkeypatch: pytest.MonkeyPatch, *, done: bool) -> None:
    """Let the connection break at an act, behind its commit or before it."""
    fetch = desk.office.store.fetch

    async def lost(name: str, *arguments: Any) -> Any:
        if name == act and not done:
            raise Unavailable("the connection is gone")
        found = await fetch(name, *arguments)
        if name == act:
            raise Unavailable("the connection is gone")
        return found

    monkeypatch.setattr(desk.office.store, "fetch", lost)


@pytest.mark.parametrize("condition", [{}, {"if-match": '"0-open"'}], ids=["as it is", "as it was seen"])
@pytest.mark.parametrize("act", sorted(ACTS))
async def test_an_act_whose_answer_was_lost_is_found(
    desk: Desk, act: str, condition: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was committed and nobody heard of it: the same request hears of its own act, which is done once."""
    target = await _target(desk, act, f"lost-{act}-{len(condition)}")
    headers = {"idempotency-key": f"lost-{act}-{len(condition)}", **condition}
    _losing(desk, act, monkeypatch, done=True)
    assert (await target.post(act, headers)).status_code == 503
    monkeypatch.undo()
    before = await target.standing()
    answer = await target.post(act, headers)
    assert answer.status_code == ACTS[act][2]
    assert await target.standing() == before
    assert len(before[1]) == 1
    assert (await target.post(act, headers)).headers["idempotency-replayed"] == "true"


@pytest.mark.parametrize("act", sorted(ACTS))
async def test_an_act_that_was_not_done_is_done(desk: Desk, act: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection broke before the act: the same request does it, once."""
    target = await _target(desk, act, f"undone-{act}")
    headers = {"idempotency-key": f"undone-{act}"}
    _losing(desk, act, monkeypatch, done=False)
    assert (await target.post(act, headers)).status_code == 503
    monkeypatch.undo()
    assert (await target.standing())[1] == []
    assert (await target.post(act, headers)).status_code == ACTS[act][2]
    assert len((await target.standing())[1]) == 1


@pytest.mark.parametrize("act", ["assign_incident", "note_incident"])
async def test_what_was_done_before_is_not_taken_for_it(desk: Desk, act: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same person did the same before this request first came: that was another act, and this one is done, too."""
    target = await _target(desk, act, f"twice-{act}")
    assert (await target.post(act, {})).status_code == 200
    assert (await desk.post(f"{target.path}/assign", {"assignee": "ben"})).status_code == 200
    headers = {"idempotency-key": f"twice-{act}"}
    _losing(desk, act, monkeypatch, done=False)
    assert (await target.post(act, headers)).status_code == 503
    monkeypatch.undo()
    assert (await target.post(act, headers)).status_code == 200
    assert len((await target.standing())[1]) == 3


async def test_an_act_that_was_found_undoes_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """What others did after an act whose answer was lost stays: the request is answered with how things stand now."""
    act, headers = "assign_incident", {"idempotency-key": "late-assign"}
    target = await _target(desk, act, "late-assign")
    _losing(desk, act, monkeypatch, done=True)
    assert (await target.post(act, headers)).status_code == 503
    monkeypatch.undo()
    assert (await desk.post(f"{target.path}/assign", {"assignee": "ben"})).status_code == 200
    answer = await target.post(act, headers)
    assert (answer.status_code, answer.json()["assignee"]) == (200, "ben")


@pytest.mark.parametrize("act", ["assign_incident", "resolve_incident", "redrive_dead_letter", "discard_dead_letter"])
async def test_an_act_that_happens_late_is_found(desk: Desk, act: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The statement of the first try commits while the second looks: the second is outrun by its own act."""
    target = await _target(desk, act, f"late-{act}")
    headers = {"idempotency-key": f"late-{act}"}
    _losing(desk, act, monkeypatch, done=False)
    assert (await target.post(act, headers)).status_code == 503
    monkeypatch.undo()
    fetch = desk.office.store.fetch

    async def outrun(name: str, *arguments: Any) -> Any:
        if name == act:
            await fetch(name, *arguments)
        return await fetch(name, *arguments)

    monkeypatch.setattr(desk.office.store, "fetch", outrun)
    assert (await target.post(act, headers)).status_code == ACTS[act][2]
    assert len((await target.standing())[1]) == 1
