"""The routes of the API's own document, what none of them takes, and who none of them lets in."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from tests.integration.api.guarded import Guarded
from tests.integration.api.server import JSON, Answer

UNKNOWN = "01890a5d-ac96-774b-bcce-b302099a8057"
# Besides what Api.digest holds; a key's last use is no act.
OTHERS = """
SELECT md5(concat_ws(
    '|',
    (SELECT string_agg((to_jsonb(k) - 'last_used_at')::text, ',' ORDER BY k.id) FROM api_key AS k),
    (SELECT string_agg(b::text, ',' ORDER BY b.id) FROM batch_operation AS b),
    (SELECT string_agg(d::text, ',' ORDER BY d.id) FROM dead_letter AS d),
    (SELECT string_agg(n::text, ',' ORDER BY n.id) FROM incident_note AS n)
)) AS digest
"""
TYPED = tuple(JSON.items())
DEEP = b'{"a":' * 5000 + b"1" + b"}" * 5000
MALFORMED: dict[str, tuple[int, bytes, tuple[tuple[str, str], ...]]] = {
    "H4 text": (415, b"{}", (("Content-Type", "text/plain"),)),
    "H4 form": (415, b"a=b", (("Content-Type", "application/x-www-form-urlencoded"),)),
    "H4 none": (415, b"{}", ()),
    "H4 xml": (415, b"<a/>", (("Content-Type", "application/xml"),)),
    "H5 empty": (422, b"", TYPED),
    "H5 null": (422, b"null", TYPED),
    "H5 array": (422, b"[]", TYPED),
    "H5 text": (422, b'"x"', TYPED),
    "H6 truncated": (400, b'{"reason": "r', TYPED),
    "H6 not UTF-8": (400, b'{"reason": "\xff"}', TYPED),
    "H7 NaN": (422, b'{"reason": NaN}', TYPED),
    "H7 1e999": (422, b'{"expected_version": 1e999}', TYPED),
    "H8 lone surrogate": (422, b'{"reason": "\\ud800"}', TYPED),
    "H8 lone surrogate as a key": (422, b'{"\\ud800": 1}', TYPED),
    "H9 NUL": (422, b'{"reason": "a\\u0000b"}', TYPED),
    "H10 duplicate key": (422, b'{"reason": "a", "reason": "a"}', TYPED),
    "H11 5,000 digits": (422, b'{"expected_version": ' + b"9" * 5000 + b"}", TYPED),
    "H11 400 digits": (422, b'{"expected_version": ' + b"9" * 400 + b"}", TYPED),
    "H12 depth 5,000": (422, DEEP, TYPED),
    "H13 five megabytes": (413, b" " * (5 * 1024 * 1024), TYPED),
    "H15 fields of ours": (422, b'{"state": "completed", "id": "x", "tenant": "x"}', TYPED),
    "H19 empty key": (422, b"{}", (*TYPED, ("Idempotency-Key", ""))),
    "H19 10 kB": (422, b"{}", (*TYPED, ("Idempotency-Key", "k" * 10_000))),
    "H19 control": (422, b"{}", (*TYPED, ("Idempotency-Key", "a\tb"))),
    "H19 two": (422, b"{}", (*TYPED, ("Idempotency-Key", "a"), ("Idempotency-Key", "b"))),
    "H40 gzip": (415, b"\x1f\x8b", (*TYPED, ("Content-Encoding", "gzip"))),
}
IDS = ("7", "x", "%00", "..%2f..%2fetc", "%EF%BC%91", "%ff", "a" * 5000, UNKNOWN.upper(), f"%7B{UNKNOWN}%7D", "-1")
LIMITS = ("0", "-1", "1001", "1e9", "abc", "%EF%BC%99", "", "%2B5", "5.0", "9" * 5000)
CURSORS = ("", "AAAA", "%2A", "%00", "%E2%82%AC", "A" * 34, "A" * 10_000)
MOMENTS = ("2026-01-01T00:00:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2026-02-30T00:00:00Z", "now", "")


class Asked(msgspec.Struct, frozen=True):
    """A route as the document has it."""

    method: str
    path: str
    operation: dict[str, Any]

    @property
    def known(self) -> dict[str, dict[str, Any]]:
        """The schemas of its query parameters by name."""
        return {each["name"]: each["schema"] for each in self.operation["parameters"] if each["in"] == "query"}

    @property
    def example(self) -> Any:
        """What it may be sent."""
        return self.operation["requestBody"]["content"]["application/json"]["example"]


class World(msgspec.Struct, frozen=True):
    """A running API, its routes, and a saga that there is."""

    guarded: Guarded
    document: dict[str, Any]
    routes: list[Asked]
    saga_id: str

    def place(self, route: Asked, other: str | None = None) -> str:
        """A route's path with the saga that there is, or with something else."""
        path = route.path if other is not None else route.path.replace("{saga_id}", self.saga_id)
        for name, unknown in (("incident_id", "4711"), ("letter_id", "4711"), ("key_id", "00000000")):
            path = path if other is not None else path.replace(f"{{{name}}}", unknown)
        path = path.replace("{step}", "reserve_stock").replace("{version}", "1")
        return re.sub(r"\{\w+\}", other or UNKNOWN, path)

    def send(self, method: str, target: str, body: bytes | None = None, headers: Any = ()) -> Answer:
        """Send something as the administrator."""
        bearer = ("Authorization", f"Bearer {self.guarded.tokens['admin']}")
        return self.guarded.api.send(method, target, body, (bearer, *headers))

    def digest(self) -> tuple[str, str]:
        """Changes with anything that a request could have written."""
        return self.guarded.api.digest(), str(self.guarded.api.fetch(OTHERS)[0]["digest"])


def look_up(guarded: Guarded, saga_id: str) -> World:
    """Ask an API for its routes."""
    document = guarded.get("/v1/openapi.json").json
    routes = [
        Asked(method.upper(), path, operation)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]
    return World(guarded, document, routes, saga_id)


def strangers(token: str) -> dict[str, tuple[tuple[str, str], ...]]:
    """Headers that let nobody in, though whoever sends them may have seen a good token."""
    return {
        "H1 nothing": (),
        "H1 no scheme": (("Authorization", token),),
        "H1 basic": (("Authorization", "Basic YTpi"),),
        "H1 a cut token": (("Authorization", f"Bearer {token[:-1]}"),),
        "H3 alg none": (("Authorization", "Bearer eyJhbGciOiJub25lIn0.e30."),),
        "H1 two headers": (("Authorization", f"Bearer {token}"), ("Authorization", f"Bearer {token}")),
        "H37 a cookie": (("Cookie", f"session={token}"), ("Origin", "http://elsewhere.example")),
    }
