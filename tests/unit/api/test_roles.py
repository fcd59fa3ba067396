"""Who may do what: every route times every role, asked of the app itself, and printed in docs/roles.md."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
from starlette.routing import Route
from structlog.testing import capture_logs

from coordinator.api.access import GRANTS, Permission, Principal, Role
from coordinator.api.routes import Declared
from tests.unit.api.hall import ByHeader, client, hall

DOC = Path(__file__).parents[3] / "docs" / "roles.md"
BEGIN, END = "<!-- printed: roles -->\n", "\n<!-- end -->"
OPEN = {"/livez", "/readyz"}
AN_ID = "01890a5d-ac96-774b-bcce-b302099a8057"


async def _ask(asking: httpx.AsyncClient, route: Declared, role: Role | None) -> int:
    path = re.sub(r"\{\w+\}", AN_ID, route.path)
    headers = {} if role is None else {"x-test-role": role.value}
    return (await asking.request(route.method, path, headers=headers)).status_code


async def _matrix() -> list[tuple[Declared, dict[Role | None, int]]]:
    app = hall(ByHeader())
    asked: list[Role | None] = [*Role, None]
    # Behind the door there is nothing, so many of those who are let in get 500; why, is not worth a line in the log.
    with capture_logs():
        async with client(app) as asking:
            declared: list[Declared] = app.state.routes.declared
            return [(route, {role: await _ask(asking, route, role) for role in asked}) for route in declared]


async def test_the_table_of_roles_is_what_the_app_does(rewrite: bool) -> None:
    """docs/roles.md holds the answers of every route to every role; `pytest --rewrite` prints them anew."""
    lines = [f"| route | needs | {' | '.join(Role)} |", f"|---|---|{'---|' * len(Role)}"]
    for route, answers in sorted(await _matrix(), key=lambda row: (row[0].path, row[0].method)):
        marks = ["-" if answers[role] == 403 else "yes" for role in Role]
        lines.append(f"| `{route.method} {route.path}` | {route.needs} | {' | '.join(marks)} |")
    written = DOC.read_text()
    before, rest = written.split(BEGIN)
    printed = before + BEGIN + "\n".join(lines) + END + rest.split(END, 1)[1]
    if rewrite:
        DOC.write_text(printed)
    else:
        assert printed == written


async def test_each_role_is_let_in_where_its_permissions_say_so() -> None:
    """A route answers 403 to the roles without its permission, 401 to nobody, and neither to the others."""
    for route, answers in await _matrix():
        assert answers[None] == 401, route
        for role in Role:
            refused = route.needs not in GRANTS[role]
            assert (answers[role] == 403) is refused, (route, role)
            assert answers[role] != 401, (route, role)


def test_no_route_goes_without_a_permission() -> None:
    """Every route of the app is one that was declared with a permission, or of the three that tell how it is."""
    app = hall(ByHeader())
    declared = {(route.method, route.path) for route in app.state.routes.declared}
    there = {
        (method, route.path) for route in app.routes if isinstance(route, Route) for method in route.methods or set()
    }
    assert {(method, path) for method, path in there if path not in OPEN} == declared
    assert {path for _, path in there if not path.startswith("/v1/")} == OPEN
    assert all(isinstance(route.needs, Permission) for route in app.state.routes.declared)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/nothing", "/v1/sagas/x/y/z", "/%761/nothing", "/v1/whoami"])
async def test_strangers_do_not_learn_what_there_is(method: str, path: str) -> None:
    """Under /v1 there is 401 for strangers whatever the path and method; 404 and 405 are for those who are known."""
    async with client(hall(ByHeader())) as asking:
        stranger = await asking.request(method, path)
        assert stranger.status_code == 401
        assert stranger.headers["www-authenticate"].startswith("Bearer ")
        assert "allow" not in stranger.headers
        known = await asking.request(method, path, headers={"x-test-role": "viewer"})
        assert known.status_code == (200 if (method, path) == ("GET", "/v1/whoami") else known.status_code)
        assert known.status_code in (200, 404, 405)


@pytest.mark.parametrize(("method", "path", "taken"), [("GET", "bulk", "POST"), ("POST", "counts", "GET")])
async def test_a_place_with_a_name_is_no_id(method: str, path: str, taken: str) -> None:
    """What stands beside the ids takes its own methods only, and names no others: it is not the saga of that id."""
    async with client(hall(ByHeader())) as asking:
        for wrong in (method, "OPTIONS", "DELETE"):
            answer = await asking.request(wrong, f"/v1/sagas/{path}", headers={"x-test-role": "admin"})
            assert (answer.status_code, answer.headers["allow"]) == (405, taken)
        assert (await asking.request(method, f"/v1/sagas/{path}")).status_code == 401


async def test_health_asks_nobody() -> None:
    """What tells how the process is answers without a token."""
    async with client(hall(ByHeader())) as asking:
        assert {(await asking.get(path)).status_code for path in OPEN} == {200}


async def test_a_refusal_says_nothing_of_what_was_asked_for() -> None:
    """403 is the same for what is there and what is not, and repeats nothing of the request."""
    async with client(hall(ByHeader())) as asking:
        headers = {"x-test-role": "viewer", "x-request-id": "same"}
        one, other = [await asking.post(f"/v1/sagas/{saga_id}/retry", headers=headers) for saga_id in (AN_ID, "canary")]
    assert one.status_code == 403
    assert one.content == other.content
    assert "canary" not in other.text


def test_who_knows_only_some_definitions_administers_nothing() -> None:
    """A scope bounds an administrator, too: else they could make themselves a key without one."""
    assert Principal("oidc:ann", Role.ADMIN).may(Permission.ADMINISTER)
    assert not Principal("oidc:ann", Role.ADMIN, frozenset({"Order"})).may(Permission.ADMINISTER)
    assert Principal("oidc:ann", Role.ADMIN, frozenset({"Order"})).may(Permission.DECIDE)


async def test_whoami_says_what_one_may_do() -> None:
    """GET /v1/whoami names the actor, the role, the definitions, the permissions, and how this process tells."""
    async with client(hall(ByHeader(frozenset({"Order"})))) as asking:
        answer = await asking.get("/v1/whoami", headers={"x-test-role": "service"})
    assert answer.json() == {
        "actor": "key:service",
        "role": "service",
        "definitions": ["Order"],
        "permissions": ["answer", "look", "start"],
        "authentication": "required",
    }
