"""Idempotency-Key: the answer to a request that did something is kept, and given again to the same request.

    claim the key -> do it -> keep the answer

The key is a convenience over guards that hold without it (a business key, a version): an act is never done twice
because an answer was lost. Kept are successes, and refusals that the state of things was the reason for; what was never
a request, was not allowed or failed here is not (docs/adr/0025-bulk-work-and-kept-answers.md).
"""

from __future__ import annotations

import hashlib
from typing import Final

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive

from coordinator.api import parameters
from coordinator.api.access import principal_of
from coordinator.api.bodies import Limits, read_bytes
from coordinator.api.door import Endpoint
from coordinator.api.middleware import request_id_of
from coordinator.api.problems import RETRY_AFTER_S, Fault, RequestRefused, respond
from coordinator.errors import SagaError, Unavailable
from coordinator.store.answers import AskedUnder, Held, InFlight, KeptAnswer, KeptAnswers, OfAnother

log = structlog.get_logger()

BODY_BYTES_MAX: Final = 1024 * 1024  # a bulk start of a thousand sagas has half of it
REPLAYED: Final = "idempotency-replayed"

_KEPT = frozenset({*range(200, 300), 404, 409, 410, 412})
_HEADERS = ("content-type", "etag", "location", "retry-after", REPLAYED)
_SINCE = "asked_since_ms"


class Keeper:
    """Keeps the answers of endpoints."""

    def __init__(self, answers: KeptAnswers, limits: Limits) -> None:
        self._answers = answers
        self._limits = limits

    def keep(self, endpoint: Endpoint) -> Endpoint:
        """The endpoint, with its answers kept for requests that bring a key; others cost nothing more."""

        async def kept(request: Request) -> Response:
            key = parameters.idempotency_key(request)
            if key is None or b"preview=true" in request.scope["query_string"]:
                return await endpoint(request)
            body = await read_bytes(request, self._limits.bulk_bytes_max, self._limits.body_timeout_seconds)
            asked = AskedUnder(principal_of(request).actor, key, _fingerprint(request, body))
            match await self._answers.claim(asked):
                case Held() as held:
                    request.scope["state"][_SINCE] = held.since_ms
                    return await self._answer(
                        endpoint, Request(request.scope, _again(request.receive, body)), asked, held
                    )
                case KeptAnswer() as answer:
                    return Response(answer.body, answer.status, {**answer.headers, REPLAYED: "true"})
                case InFlight():
                    detail = "the same request is being answered; ask again, and hear what came of it"
                    retry_after = {"retry-after": str(RETRY_AFTER_S)}
                    raise RequestRefused(409, "request-in-flight", detail, headers=retry_after)
                case OfAnother():
                    detail = "the key was used for another request: a new request needs a new key"
                    fault = Fault(detail, header="Idempotency-Key")
                    raise RequestRefused(422, "idempotency-key-reused", f"Idempotency-Key: {detail}", [fault])

        return kept

    async def _answer(self, endpoint: Endpoint, request: Request, asked: AskedUnder, held: Held) -> Response:
        try:
            answer = await endpoint(request)
        except SagaError as error:
            await self._settle(asked, held, respond(error, request_id_of(request.scope)))
            raise
        except Exception:
            await self._settle(asked, held, None)
            raise
        await self._settle(asked, held, answer)
        return answer

    async def _settle(self, asked: AskedUnder, held: Held, answer: Response | None) -> None:
        """Keep an answer, or give the key up; what cannot be settled now is taken over after a while."""
        try:
            if answer is None or answer.status_code >= 500:
                await self._answers.reopen(asked, held.claim)
            elif answer.status_code in _KEPT and len(answer.body) <= BODY_BYTES_MAX:
                headers = {name: answer.headers[name] for name in _HEADERS if name in answer.headers}
                await self._answers.keep(asked, held.claim, KeptAnswer(answer.status_code, headers, bytes(answer.body)))
            elif answer.status_code in _KEPT:
                await self._answers.reopen(asked, held.claim)
            else:
                await self._answers.free(asked, held.claim)
        except Unavailable as problem:
            log.info("answer_not_kept", reason=str(problem))


def asked_since_ms(request: Request) -> int | None:
    """When the same request first came under its key, if it did before this and nobody knows what became of it."""
    found: int | None = request.scope["state"].get(_SINCE)
    return found


def came_before(request: Request) -> bool:
    """Whether the same request came before under its key, and nobody knows what became of it."""
    return asked_since_ms(request) is not None


def _fingerprint(request: Request, body: bytes) -> bytes:
    scope = request.scope
    condition = ",".join(request.headers.getlist("if-match")).encode()
    parts = (scope["method"].encode(), scope["path"].encode(), scope["query_string"], condition, body)
    return hashlib.sha256(b"\n".join(b"%d %b" % (len(part), part) for part in parts)).digest()


def _again(receive: Receive, body: bytes) -> Receive:
    """A request's messages, with a body that was read already."""
    left = [body]

    async def received() -> Message:
        if left:
            return {"type": "http.request", "body": left.pop(), "more_body": False}
        return await receive()

    return received
