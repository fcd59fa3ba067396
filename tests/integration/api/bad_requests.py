"""The table of bad requests: what is sent, what must come back, and which row of the research notes it is.

`place` is where the first fault must point: a JSON pointer, or "?name" for a parameter, or "#Name" for a header.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from tests.integration.api.server import JSON, order

SAGAS = "/v1/sagas"
NO_SAGA = "/v1/sagas/01890a5d-ac96-774b-bcce-b302099a8057"
RETRY = f"{NO_SAGA}/retry"
MEGABYTE = 1024 * 1024
BODY_MAX = 256 * 1024


class Case(msgspec.Struct, frozen=True):
    """One request that must be refused and change nothing."""

    name: str
    status: int
    place: str | None = None
    method: str = "POST"
    target: str = SAGAS
    body: bytes | None = None
    headers: tuple[tuple[str, str], ...] = tuple(JSON.items())


def _text(body: Any) -> bytes:
    return json.dumps(body).encode()


def _replaced(old: str, new: str | bytes, **changes: Any) -> bytes:
    """The body of a good order in which a piece of JSON text is replaced."""
    whole = _text(order("bad", **changes))
    assert old.encode() in whole
    return whole.replace(old.encode(), new if isinstance(new, bytes) else new.encode(), 1)


def _without(name: str) -> bytes:
    body = order("bad")
    del body["input"][name]
    return _text(body)


def _post(name: str, status: int, place: str | None, body: bytes | None, **more: Any) -> Case:
    return Case(name, status, place, body=body, **more)


def _get(name: str, status: int, place: str | None, target: str) -> Case:
    return Case(name, status, place, "GET", target, None, ())


def _typed(content_type: str) -> tuple[tuple[str, str], ...]:
    return (("Content-Type", content_type),)


GOOD = _text(order("bad"))
DEEP = b'{"definition":"OrderFulfillment","input":' + b'{"a":' * 5000 + b"1" + b"}" * 5001
FAR = b'{"definition":"OrderFulfillment","input":{"a":' + b"[" * 40 + b"]" * 40 + b"}}"

BODIES = [
    _post("H4 text", 415, "#Content-Type", GOOD, headers=_typed("text/plain")),
    _post("H4 form", 415, "#Content-Type", b"a=b", headers=_typed("application/x-www-form-urlencoded")),
    _post("H4 none", 415, "#Content-Type", GOOD, headers=()),
    _post("H4 xml", 415, "#Content-Type", GOOD, headers=_typed("application/xml")),
    _post("H4 patch", 415, "#Content-Type", GOOD, headers=_typed("application/merge-patch+json")),
    _post("H4 latin", 415, "#Content-Type", GOOD, headers=_typed("application/json; charset=latin-1")),
    _post("H4 twice", 415, "#Content-Type", GOOD, headers=(*JSON.items(), *JSON.items())),
    _post("H4 retry", 415, "#Content-Type", b"{}", target=RETRY, headers=_typed("text/json")),
    _post("H40 gzip", 415, "#Content-Encoding", GOOD, headers=(*JSON.items(), ("Content-Encoding", "gzip"))),
    _post("H5 empty", 422, "", b""),
    _post("H5 no body", 422, "", None),
    _post("H5 blank", 422, "", b" \n"),
    _post("H5 null", 422, "", b"null"),
    _post("H5 array", 422, "", b"[]"),
    _post("H5 string", 422, "", b'"x"'),
    _post("H5 number", 422, "", b"7"),
    _post("H5 nothing in it", 422, "/definition", b"{}"),
    _post("H6 truncated", 400, "", GOOD[:-9]),
    _post("H6 trailing", 400, "", GOOD + b"}"),
    _post("H6 not UTF-8", 400, "", _replaced("Berlin", b"Berl\xffin")),
    _post("H6 UTF-16", 400, "", GOOD.decode().encode("utf-16")),
    _post("H6 byte order mark", 400, "", b"\xef\xbb\xbf" + GOOD),
    _post("H6 single quotes", 400, "", b"{'definition': 'OrderFulfillment'}"),
    _post("H6 avro", 400, "", b"\x00\x00\x00\x00\x07abc"),
    _post("H7 NaN in a typed field", 422, "/input/amount_cents", _replaced("4200", "NaN")),
    _post("H7 1e999 in a typed field", 422, "/input/amount_cents", _replaced("4200", "1e999")),
    _post("H7 -Infinity in a free field", 422, "/input/note/0", _replaced('"X"', "[-Infinity]", note="X")),
    _post("H7 NaN beside the input", 422, "/x", b'{"definition":"A","input":{},"x":NaN}'),
    _post("H8 lone surrogate", 422, "/input/address/city", _replaced("Berlin", "\\ud800")),
    _post("H8 lone surrogate in a free field", 422, "/input/note", _replaced('"X"', '"\\udfff"', note="X")),
    _post("H8 lone surrogate as a key", 422, "/input", _replaced('"note"', '"\\ud800"', note="X")),
    _post("H8 lone surrogate as the definition", 422, "/definition", _replaced("OrderFulfillment", "\\ud83d")),
    _post("H9 NUL", 422, "/input/address/city", _replaced("Berlin", "Ber\\u0000lin")),
    _post("H9 NUL in the business key", 422, "/input/order_id", _replaced("bad", "ba\\u0000d")),
    _post("H9 raw control character", 400, "", _replaced("Berlin", "Ber\x00lin")),
    _post("H10 duplicate key", 422, "/definition", b'{"definition":"A","definition":"A","input":{}}'),
    _post("H10 duplicate key inside", 422, "/input/currency", _replaced('"currency"', '"currency": "EUR", "currency"')),
    _post("H11 5,000 digits", 422, "/input/amount_cents", _replaced("4200", "9" * 5000)),
    _post("H11 400 digits", 422, "/input/amount_cents", _replaced("4200", "9" * 400)),
    _post("H11 beyond 64 bits", 422, "/input/amount_cents", _replaced("4200", str(2**63))),
    _post("H11 beyond the field", 422, "/input/amount_cents", _replaced("4200", str(2**62))),
    _post("H12 depth 5,000", 422, "", DEEP),
    _post("H12 depth 40", 422, "/input/a" + "/0" * 30, FAR),
    _post("H15 state", 422, "/state", _text({**order("bad"), "state": "completed"})),
    _post("H15 id", 422, "/id", _text({**order("bad"), "id": "x"})),
    _post("H15 tenant", 422, "/tenant", _text({**order("bad"), "tenant": "x"})),
    _post("H15 odd name", 422, "/a~1b~0c", _text({**order("bad"), "a/b~c": 1})),
    _post("H15 in the input", 422, "/input/status", _text(order("bad", status="x"))),
    _post(
        "H15 deep in the input",
        422,
        "/input/items/0/price",
        _text(order("bad", items=[{"sku": "a", "quantity": 1, "price": 0}])),
    ),
    _post("H16 true for a number", 422, "/version", _text({**order("bad"), "version": True})),
    _post("H16 text for a number", 422, "/version", _text({**order("bad"), "version": "1"})),
    _post("H16 float for a number", 422, "/version", _text({**order("bad"), "version": 1.5})),
    _post("H16 number for text", 422, "/definition", _text({**order("bad"), "definition": 7})),
    _post("H16 true in the input", 422, "/input/amount_cents", _text(order("bad", amount_cents=True))),
    _post("H16 text in the input", 422, "/input/amount_cents", _text(order("bad", amount_cents="1"))),
    _post("H16 array for the input", 422, "/input", _text({**order("bad"), "input": []})),
    _post("H17 unknown definition", 422, "/definition", _text({**order("bad"), "definition": "Nothing"})),
    _post("H17 definition of a megabyte", 413, None, _text({**order("bad"), "definition": "A" * MEGABYTE})),
    _post("H17 long definition", 422, "/definition", _text({**order("bad"), "definition": "A" * 100})),
    _post("H17 unknown version", 422, "/definition", _text({**order("bad"), "version": 99})),
    _post("H17 version 0", 422, "/version", _text({**order("bad"), "version": 0})),
    _post("H18 missing field", 422, "/input/currency", _without("currency")),
    _post("H18 missing business key", 422, "/input/order_id", _without("order_id")),
    _post("H18 pattern", 422, "/input/currency", _text(order("bad", currency="euro"))),
    _post(
        "H18 item",
        422,
        "/input/items/1/quantity",
        _text(order("bad", items=[{"sku": "a", "quantity": 1}, {"sku": "b", "quantity": 0}])),
    ),
    _post("H18 business key of spaces", 422, "/input/order_id", _text(order("line\nbreak"))),
    _post("H18 input of 65 KiB", 422, "/input", _text(order("bad", note="x" * 66_000))),
    _post("H19 empty Idempotency-Key", 422, "#Idempotency-Key", GOOD, headers=(*JSON.items(), ("Idempotency-Key", ""))),
    _post(
        "H19 long Idempotency-Key",
        422,
        "#Idempotency-Key",
        GOOD,
        headers=(*JSON.items(), ("Idempotency-Key", "k" * 300)),
    ),
    _post(
        "H19 two of them",
        422,
        "#Idempotency-Key",
        GOOD,
        headers=(*JSON.items(), ("Idempotency-Key", "a"), ("Idempotency-Key", "b")),
    ),
    _post("H19 Latin letters", 422, "#Idempotency-Key", GOOD, headers=(*JSON.items(), ("Idempotency-Key", "\xe9"))),
    _post("H31 parameter on a start", 422, "?dry_run", GOOD, target=f"{SAGAS}?dry_run=1"),
    _post("H13 a little too large", 413, None, GOOD + b" " * BODY_MAX),
    _post("bulk: no list", 422, "/sagas", b"{}", target=f"{SAGAS}/bulk"),
    _post("bulk: empty list", 422, "/sagas", b'{"sagas": []}', target=f"{SAGAS}/bulk"),
    _post("bulk: extra field", 422, "/atomic", b'{"sagas": [1], "atomic": true}', target=f"{SAGAS}/bulk"),
    _post("bulk: too many", 422, "/sagas", _text({"sagas": [0] * 1001}), target=f"{SAGAS}/bulk"),
    _post("bulk: too large", 413, None, b" " * (4 * MEGABYTE + 1), target=f"{SAGAS}/bulk"),
    _post("bulk: NaN in one", 422, "/sagas/1/input/x", b'{"sagas":[{},{"input":{"x":NaN}}]}', target=f"{SAGAS}/bulk"),
    _post("retry: no saga", 404, None, _text({"reason": "r", "expected_version": 1}), target=RETRY),
    _post("retry: no reason", 422, "/reason", b'{"expected_version": 1}', target=RETRY),
    _post("retry: empty reason", 422, "/reason", _text({"reason": "", "expected_version": 1}), target=RETRY),
    _post("retry: blank reason", 422, "/reason", _text({"reason": "  ", "expected_version": 1}), target=RETRY),
    _post(
        "retry: reason with a line break",
        422,
        "/reason",
        _text({"reason": "a\nb", "expected_version": 1}),
        target=RETRY,
    ),
    _post("retry: long reason", 422, "/reason", _text({"reason": "r" * 501, "expected_version": 1}), target=RETRY),
    _post("retry: no version", 428, "/expected_version", _text({"reason": "r"}), target=RETRY),
    _post(
        "retry: version as text",
        422,
        "/expected_version",
        _text({"reason": "r", "expected_version": "1"}),
        target=RETRY,
    ),
    _post(
        "retry: two versions",
        422,
        "/expected_version",
        _text({"reason": "r", "expected_version": 1}),
        target=RETRY,
        headers=(*JSON.items(), ("If-Match", '"2"')),
    ),
    _post(
        "retry: weak ETag",
        422,
        "#If-Match",
        _text({"reason": "r"}),
        target=RETRY,
        headers=(*JSON.items(), ("If-Match", 'W/"2"')),
    ),
    _post(
        "retry: any ETag",
        422,
        "#If-Match",
        _text({"reason": "r"}),
        target=RETRY,
        headers=(*JSON.items(), ("If-Match", "*")),
    ),
    _post(
        "retry: actor from outside",
        422,
        "/actor",
        _text({"reason": "r", "expected_version": 1, "actor": "me"}),
        target=RETRY,
    ),
]

PLACES = [
    _get("definitions-by-colour", 422, "?colour", "/v1/definitions?colour=red"),
    _get("H22 not a UUID", 404, None, f"{SAGAS}/7"),
    _get("H22 NUL", 404, None, f"{SAGAS}/%00"),
    _get("H22 path", 404, None, f"{SAGAS}/..%2f"),
    _get("H22 path of a file", 404, None, f"{SAGAS}/..%2f..%2fetc%2fpasswd"),
    _get("H22 not UTF-8", 404, None, f"{SAGAS}/%ff"),
    _get("H22 unicode digits", 404, None, f"{SAGAS}/%EF%BC%91" + NO_SAGA[len(SAGAS) + 2 :]),
    _get("H22 long", 404, None, f"{SAGAS}/{'a' * 5000}"),
    _get("H22 upper case", 404, None, f"{SAGAS}/{NO_SAGA[len(SAGAS) + 1 :].upper()}"),
    _get("H22 braces", 404, None, f"{SAGAS}/%7B{NO_SAGA[len(SAGAS) + 1 :]}%7D"),
    _get("H22 trailing slash", 404, None, f"{SAGAS}/"),
    _get("H22 log of no UUID", 404, None, f"{SAGAS}/x/log"),
    _get("H23 unknown saga", 404, None, NO_SAGA),
    _get("H23 log of an unknown saga", 404, None, f"{NO_SAGA}/log"),
    _post(
        "H22 retry of no UUID", 404, None, _text({"reason": "r", "expected_version": 1}), target=f"{SAGAS}/%00/retry"
    ),
    _get("no such place", 404, None, "/"),
    _get("no such page", 404, None, "/docs"),
    _get("H31 on one saga", 422, "?fields", f"{NO_SAGA}?fields=all"),
    _get("H31 unknown inclusion", 422, "?include", f"{NO_SAGA}?include=everything"),
    _get("H31 empty inclusion", 422, "?include", f"{NO_SAGA}?include="),
    _get("H31 on the log", 422, "?from", f"{NO_SAGA}/log?from=1"),
    _get("H29 limit of the log", 422, "?limit", f"{NO_SAGA}/log?limit=1001"),
    _get("H29 after a word", 422, "?after", f"{NO_SAGA}/log?after=x"),
]

LISTS = [
    *(
        _get(f"H29 limit {limit}", 422, "?limit", f"{SAGAS}?limit={limit}")
        for limit in ("0", "-1", "201", "1e9", "abc", "%EF%BC%99", "", "%2B5", "+5", "5.0", "0x10", "5%00", "9" * 5000)
    ),
    _get("H29 limit twice", 422, "?limit", f"{SAGAS}?limit=1&limit=2"),
    _get("H30 forged", 400, "?cursor", f"{SAGAS}?cursor=AAAA"),
    _get("H30 empty", 400, "?cursor", f"{SAGAS}?cursor="),
    _get("H30 not base64", 400, "?cursor", f"{SAGAS}?cursor=%2A%2A"),
    _get("H30 NUL", 400, "?cursor", f"{SAGAS}?cursor=%00"),
    _get("H30 unicode", 400, "?cursor", f"{SAGAS}?cursor=%E2%82%AC"),
    _get("H30 10 kB", 400, "?cursor", f"{SAGAS}?cursor={'A' * 10_000}"),
    _get("H30 a cursor's length", 400, "?cursor", f"{SAGAS}?cursor={'A' * 34}"),
    _get("H31 sort", 422, "?sort", f"{SAGAS}?sort=id"),
    _get("H31 unknown", 422, "?statuss", f"{SAGAS}?statuss=failed"),
    _get("H31 case", 422, "?Status", f"{SAGAS}?Status=failed"),
    _get("H31 no name", 422, "?", f"{SAGAS}?=1"),
    _get("H31 status", 422, "?status", f"{SAGAS}?status=running"),
    _get("H31 one of two statuses", 422, "?status", f"{SAGAS}?status=failed&status=x"),
    _get("H31 definition", 422, "?definition", f"{SAGAS}?definition=%25"),
    _get("H31 definition twice", 422, "?definition", f"{SAGAS}?definition=A&definition=B"),
    _get("H31 many parameters", 422, None, f"{SAGAS}?{'&'.join('a=1' for _ in range(200))}"),
    _get("H31 not UTF-8", 422, None, f"{SAGAS}?business_key=%ff"),
    _get("H31 empty business key", 422, "?business_key", f"{SAGAS}?business_key="),
    _get("H31 business key with NUL", 422, "?business_key", f"{SAGAS}?business_key=a%00b"),
    *(
        _get(f"H32 since {since}", 422, "?since", f"{SAGAS}?since={since}")
        for since in (
            "2026-01-01T00:00:00",
            "2026-01-01",
            "0001-01-01T00:00:00Z",
            "9999-12-31T23:59:59Z",
            "9999-12-31T23:59:59-14:00",
            "2026-02-30T00:00:00Z",
            "2026-01-01T24:00:01Z",
            "2026-01-01T00:00:00+02:00",
            "1767225600",
            "now",
            "",
            "2" * 5000,
        )
    ),
    _get("H32 end before start", 422, "?until", f"{SAGAS}?since=2026-02-01T00:00:00Z&until=2026-01-01T00:00:00Z"),
    _get("H32 end at start", 422, "?until", f"{SAGAS}?since=2026-02-01T00:00:00Z&until=2026-02-01T00:00:00Z"),
]


def raw_requests(*headers: str) -> dict[str, tuple[bytes, int]]:
    """Bytes that no client library sends, with the status of the first answer; `headers` are lines of each head."""
    lines = "".join(f"{line}\r\n" for line in ("Host: test", *headers)).encode()
    start = b"POST /v1/sagas HTTP/1.1\r\n" + lines + b"Content-Type: application/json\r\n"
    look = b"GET /v1/sagas?limit=1 HTTP/1.1\r\n" + lines
    return {
        "H13 a length that lies low": (start + b"Content-Length: 10\r\n\r\n" + GOOD + b"\r\n\r\n", 400),
        "H13 a length that lies high": (start + b"Content-Length: 1000\r\n\r\n" + GOOD[:100], 408),
        "H13 two lengths": (start + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}", 400),
        "H13 a chunk that is none": (start + b"Transfer-Encoding: chunked\r\n\r\nx\r\n", 400),
        "H13 a length and chunks": (start + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        "H38 a head without an end": (look + b"X-Long: " + b"x" * 100_000, 431),
        "H38 a line break in a header": (look + b"X-Request-Id: a\x0bb\x00\r\n\r\n", 400),
        "noise": (b"\x16\x03\x01\r\n\r\n", 400),
    }
