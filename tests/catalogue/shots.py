"""What is sent: each row of both tables of bad input, and what becomes of each under a few small changes."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from coordinator.wire.inbound import decode_inbound
from coordinator.wire.strict_json import Refused
from tests.catalogue.stage import Stage
from tests.integration.api.bad_requests import BODIES, LISTS, PLACES
from tests.integration.api.bad_requests import Case as Request
from tests.integration.api.routes import CURSORS, IDS, LIMITS, MALFORMED, MOMENTS, TYPED, strangers
from tests.integration.engine.bench import Raw, Target
from tests.integration.engine.cases import CASES, Case
from tests.prove.inputs import Origin, family
from tests.prove.kept import Input

PER_RECORD = 3
PER_REQUEST = 2
SAFE = "/?&=%.:+-_~"  # of a target that is sent as it stands; the rest is quoted, as a client has to
VERB = re.compile(r"/v1/sagas/\{saga_id\}/[a-z]+")
WEAK = ("viewer", "service", "operator")


@dataclass(frozen=True)
class Shot:
    """One record and what must come of it; a mutation that can be read has no verdict that is known before."""

    name: str
    target: Target
    raw: Raw
    reason: str | None
    verdict: str | None
    moves: bool
    status: str | None = None


@dataclass(frozen=True)
class Call:
    """One request, as whoever `headers` make of it; without statuses it may get any but that of a fault of ours."""

    name: str
    method: str
    target: str
    body: bytes | None
    headers: tuple[tuple[str, str], ...]
    statuses: tuple[int, ...] = ()


async def rows_of_kafka(stage: Stage) -> list[Shot]:
    """Each row of the table of records, aimed at a saga of its own that was brought to where the row begins."""
    shots = []
    for case in CASES:
        target, neighbour = await stage.bench.targets(2)
        if case.prepare is not None:
            await case.prepare(stage.bench, target, neighbour)
        raw = case.make(target, neighbour)
        shots.append(Shot(case.name, target, raw, case.reason, case.verdict, case.moves, case.status))
    return shots


async def mutations_of_kafka(stage: Stage, dice: random.Random) -> list[Shot]:
    """Changed rows, each aimed at a saga of its own: it may move only where the record can be read."""
    shots = []
    for case in CASES:
        for number in range(PER_RECORD):
            target, neighbour = await stage.bench.targets(2)
            base, other = _input(case, target, neighbour), _input(dice.choice(CASES), target, neighbour)
            raw = _changed(dice, base, other)
            reason = _refusal(raw)
            verdict = None if reason is None else "quarantined"
            shots.append(Shot(f"{case.name}~{number}", target, raw, reason, verdict, reason is None))
    return shots


def rows_of_rest(stage: Stage, dice: random.Random) -> list[Call]:
    """Each row of the tables of requests; what no route takes is sent to some route that could take it."""
    token = stage.guarded.tokens["admin"]
    known = (_bearer(token),)
    plain = [
        Call(case.name, case.method, case.target, case.body, (*known, *case.headers), (case.status,))
        for case in (*BODIES, *PLACES, *LISTS)
    ]
    posts = [route for route in stage.routes.routes if route.method == "POST"]
    for name, (status, body, headers) in MALFORMED.items():
        target = stage.routes.place(dice.choice(posts))
        plain.append(Call(f"{name} to {target}", "POST", target, body, (*known, *headers), (status,)))
    for name, headers in strangers(token).items():
        route = dice.choice(stage.routes.routes)
        plain.append(Call(name, route.method, stage.routes.place(route), None, headers, (401,)))
    return [*plain, *_weak(stage, dice), *_odd_ids(stage, dice, known), *_odd_lists(stage, dice, known)]


async def acts_of_rest(stage: Stage) -> list[Call]:
    """Each verb on a saga of each status: at a version that never was, and as a mere preview at its own (H24, H26)."""
    known = (_bearer(stage.guarded.tokens["admin"]), *TYPED)
    sagas = await stage.world.rows(
        "SELECT DISTINCT ON (status) id::text, status, version FROM saga ORDER BY status, id"
    )
    calls = []
    for route in stage.routes.routes:
        if route.method != "POST" or not VERB.fullmatch(route.path):
            continue
        for saga in sagas:
            target = route.path.replace("{saga_id}", saga["id"])
            stale = json.dumps({**route.example, "expected_version": saga["version"] + 7}).encode()
            shown = json.dumps({**route.example, "expected_version": saga["version"]}).encode()
            name = f"{target.rpartition('/')[2]} of a {saga['status']} saga"
            calls.append(Call(f"H26 {name}", "POST", target, stale, known, (409, 412, 422)))
            calls.append(
                Call(f"H24 preview: {name}", "POST", f"{target}?preview=true", shown, known, (200, 409, 412, 422))
            )
    return calls


def mutations_of_rest(stage: Stage, dice: random.Random) -> list[Call]:
    """Changed rows: bodies as records are changed, places by what is put into them."""
    known = (_bearer(stage.guarded.tokens["admin"]),)
    cases = (*BODIES, *PLACES, *LISTS)
    with_body = [case for case in cases if case.body is not None]
    calls = []
    for case in cases:
        for number in range(PER_REQUEST):
            body, target = case.body, case.target
            if body is not None:
                body = _changed(dice, Input((), None, body), Input((), None, dice.choice(with_body).body)).value
            else:
                target = _other_place(dice, case, dice.choice(cases))
            calls.append(Call(f"{case.name}~{number}", case.method, target, body, (*known, *case.headers)))
    return calls


def _weak(stage: Stage, dice: random.Random) -> Iterator[Call]:
    for role in WEAK:
        granted = stage.guarded.get("/v1/whoami", role).json["permissions"]
        for route in stage.routes.routes:
            if route.operation["x-permission"] not in granted and not dice.randrange(3):
                headers = (_bearer(stage.guarded.tokens[role]), *TYPED)
                body = b"{}" if route.method == "POST" else None
                yield Call(f"H2 {role}", route.method, stage.routes.place(route), body, headers, (403,))


def _odd_ids(stage: Stage, dice: random.Random, known: tuple[tuple[str, str], ...]) -> Iterator[Call]:
    routes = [route for route in stage.routes.routes if "{" in route.path]
    of_sagas = [route for route in routes if "{saga_id}" in route.path]
    for odd in IDS:
        route = dice.choice(of_sagas if odd.isdigit() else routes)  # letters and incidents have numbers
        body = json.dumps(route.example).encode() if route.method == "POST" else None
        yield Call(f"H22 {odd[:20]}", route.method, stage.routes.place(route, odd), body, (*known, *TYPED), (404,))


def _odd_lists(stage: Stage, dice: random.Random, known: tuple[tuple[str, str], ...]) -> Iterator[Call]:
    rows: tuple[tuple[str, tuple[str, ...], int], ...] = (
        ("limit", LIMITS, 422),
        ("cursor", CURSORS, 400),
        ("since", MOMENTS, 422),
    )
    for name, values, status in rows:
        lists = [
            route
            for route in stage.routes.routes
            if route.method == "GET" and name in route.known and "{operation_id}" not in route.path
        ]
        for value in values:
            target = f"{stage.routes.place(dice.choice(lists))}?{name}={value}"
            yield Call(f"{name}={value[:20]} at {target[:40]}", "GET", target, None, known, (status,))


def _bearer(token: str) -> tuple[str, str]:
    return ("Authorization", f"Bearer {token}")


def _input(case: Case, target: Target, neighbour: Target) -> Input:
    raw = case.make(target, neighbour)
    return Input(tuple(raw.headers), raw.key, raw.value)


def _changed(dice: random.Random, base: Input, other: Input) -> Raw:
    """Change an input once or a few times, as the fuzzing of the decoders does."""
    origin = Origin(base, other, {"attempt": dice.randrange(9), "x": None}, dice.randbytes(20), dice.getrandbits(32))
    _, changed = family(origin, 2)
    # A client sends no record that has neither.
    key = b"" if changed.value is None and changed.key is None else changed.key
    return Raw(changed.value, list(changed.headers), key)


def _other_place(dice: random.Random, case: Request, other: Request) -> str:
    changed = _changed(dice, Input((), None, case.target.encode()), Input((), None, other.target.encode()))
    text = quote(changed.value or b"", safe=SAFE)
    return text if text.startswith("/") else f"/{text}"


def _refusal(raw: Raw) -> str | None:
    headers: Any = raw.headers
    try:
        decode_inbound(headers, raw.key, raw.value)
    except Refused as refused:
        return refused.reason
    return None
