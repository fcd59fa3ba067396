"""Request bodies: read with limits on type, size and time, then parsed strictly."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from coordinator.api.locating import escape, locate
from coordinator.api.problems import ERRORS_MAX, Fault, RequestRefused
from coordinator.wire.strict_json import Refused, decode_object

_JSON = b"application/json"
_UNREADABLE = frozenset({"not_json"})  # not JSON at all: 400; all else is JSON that we do not take: 422


class Limits(Protocol):
    """How large and how slow a request may be."""

    @property
    def body_bytes_max(self) -> int: ...  # noqa: D102
    @property
    def bulk_bytes_max(self) -> int: ...  # noqa: D102
    @property
    def bulk_max(self) -> int: ...  # noqa: D102
    @property
    def body_timeout_seconds(self) -> float: ...  # noqa: D102


ModelT = TypeVar("ModelT", bound=BaseModel)


async def read_object(request: Request, bytes_max: int, timeout_s: float) -> dict[str, Any]:
    """The JSON object in a request's body; raises RequestRefused (400, 408, 413, 415, 422)."""
    _check_headers(request, bytes_max)
    body = await read_bytes(request, bytes_max, timeout_s)
    try:
        return decode_object(body, max_bytes=bytes_max)
    except Refused as refused:
        raise _refusal(refused, body) from None


async def read_bytes(request: Request, bytes_max: int, timeout_s: float) -> bytes:
    """A request's body as it came; raises RequestRefused (408, 413)."""
    try:
        async with asyncio.timeout(timeout_s):
            return await _read(request, bytes_max)
    except TimeoutError:
        detail = f"the body did not arrive within {timeout_s:g} seconds"
        raise RequestRefused(408, "too-slow", detail, headers={"connection": "close"}) from None


def fit(model: type[ModelT], tree: dict[str, Any], prefix: str = "") -> ModelT:
    """Check an object against a strict model; raises RequestRefused with a pointer to each wrong field."""
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        faults = [
            Fault(wrong["msg"], prefix + "".join(f"/{escape(part)}" for part in wrong["loc"]))
            for wrong in error.errors(include_url=False, include_input=False, include_context=False)[:ERRORS_MAX]
        ]
        summary = f"{faults[0].pointer or 'the body'}: {faults[0].detail}"
        raise RequestRefused(422, "invalid-input", summary, faults) from None


def _check_headers(request: Request, bytes_max: int) -> None:
    types = [value for name, value in request.scope["headers"] if name == b"content-type"]
    if not (len(types) == 1 and (types[0] == _JSON or _is_json(types[0]))):
        detail = "the body must be application/json"
        raise RequestRefused(415, "unsupported-media-type", detail, [Fault(detail, header="Content-Type")])
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        detail = "the body must not be encoded"
        raise RequestRefused(415, "unsupported-media-type", detail, [Fault(detail, header="Content-Encoding")])
    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and (len(length) > 18 or int(length) > bytes_max):
        raise _too_large(bytes_max)


def _is_json(value: bytes) -> bool:
    media_type, *parameters = [part.strip().lower() for part in value.split(b";")]
    return media_type == _JSON and all(part in (b"charset=utf-8", b'charset="utf-8"', b"") for part in parameters)


async def _read(request: Request, bytes_max: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > bytes_max:
            raise _too_large(bytes_max)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


def _too_large(bytes_max: int) -> RequestRefused:
    return RequestRefused(413, "too-large", f"the body may have at most {bytes_max} bytes")


def _refusal(refused: Refused, body: bytes) -> RequestRefused:
    if refused.reason == "too_large":
        return RequestRefused(413, "too-large", refused.detail)
    detail = f"{refused.reason}: {refused.detail}"
    if refused.reason in _UNREADABLE:
        return RequestRefused(400, "not-json", detail, [Fault(refused.detail, "")])
    pointer = locate(body, refused.reason)
    return RequestRefused(422, "invalid-input", detail, [Fault(detail, pointer)])
