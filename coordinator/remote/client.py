"""HTTP to one coordinator: problems become refusals with an exit code, and nothing of a key is ever said.

Nothing that changes something is sent twice by itself: an answer that is lost leaves open whether it happened, so the
person is told to look. A stream is read line by line and names the last event it saw when it is opened again.
"""

from __future__ import annotations

import json
import secrets
import ssl
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self, TypeAlias
from urllib.parse import quote

import httpx2
import msgspec

from coordinator.exits import ExitCode
from coordinator.remote.contexts import Server
from coordinator.remote.refusals import Refusal, misused

PAGE_MAX: Final = 200
CONNECT_S, ANSWER_S, SILENCE_S = 5.0, 30.0, 60.0
LINE_BYTES_MAX: Final = 4 * 1024 * 1024
Query: TypeAlias = Mapping[str, "str | int | Sequence[str] | None"]

_CODES: Final[dict[int, ExitCode]] = {
    401: ExitCode.FORBIDDEN,
    403: ExitCode.FORBIDDEN,
    404: ExitCode.NOT_FOUND,
    409: ExitCode.REFUSED,
    412: ExitCode.REFUSED,
    429: ExitCode.RATE_LIMITED,
    502: ExitCode.UNAVAILABLE,
    503: ExitCode.UNAVAILABLE,
    504: ExitCode.UNAVAILABLE,
}


class Answer(msgspec.Struct, frozen=True):
    """What came back: the text as it was sent, and what it says."""

    status: int
    text: str
    value: Any
    etag: str | None = None


class Event(msgspec.Struct, frozen=True):
    """One event of a stream."""

    id: str
    kind: str
    data: str


def path(*parts: str | int) -> str:
    """A path below /v1; each part is taken literally."""
    return "/v1/" + "/".join(quote(str(part), safe="") for part in parts)


class Client:
    """One session with one server; `transport` is for tests."""

    def __init__(
        self, server: Server, transport: httpx2.BaseTransport | None = None, answer_s: float = ANSWER_S
    ) -> None:
        self.server = server
        headers = {"accept": "application/json", "user-agent": "saga-cli"}
        if server.key is not None:
            headers["authorization"] = f"Bearer {server.key}"
        self._http = httpx2.Client(
            base_url=server.url.rstrip("/"),
            headers=headers,
            verify=_trusted(server),
            timeout=httpx2.Timeout(answer_s, connect=min(CONNECT_S, answer_s)),
            follow_redirects=False,  # a key goes to the server that was named, and to no other
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, target: str, query: Query | None = None) -> Answer:
        """Ask for something; raises Refusal."""
        return self._send("GET", target, query=query)

    def post(
        self, target: str, body: Mapping[str, Any], *, query: Query | None = None, etag: str | None = None
    ) -> Answer:
        """Do something, to what was looked at where its ETag is given; raises Refusal."""
        headers = {"idempotency-key": secrets.token_urlsafe(18)}
        if etag is not None:
            headers["if-match"] = etag
        return self._send("POST", target, query=query, body=body, headers=headers)

    def ask(self, target: str) -> httpx2.Response:
        """Ask for something whatever the status says; raises Refusal where nobody answers."""
        try:
            return self._http.get(target)
        except httpx2.TransportError as error:
            raise self._unreachable(error, begun=False) from error

    def pages(self, target: str, query: Query, cursor: str | None = None) -> Iterator[Answer]:
        """The pages of a list, from `cursor` on; raises Refusal."""
        following = cursor
        while True:
            answer = self.get(target, {**query, "cursor": following})
            yield answer
            following = answer.value.get("next_cursor") if isinstance(answer.value, dict) else None
            if following is None:
                return

    def events(
        self, target: str, query: Query, last_id: str | None = None, silence_s: float = SILENCE_S
    ) -> Iterator[Event | None]:
        """The events of a stream, from behind `last_id` on, until it ends or breaks; raises Refusal.

        None is a sign of life; a stream without any for `silence_s` is broken.
        """
        headers = {"accept": "text/event-stream", **({} if last_id is None else {"last-event-id": last_id})}
        timeout = httpx2.Timeout(silence_s, connect=min(CONNECT_S, silence_s))
        try:
            with self._http.stream("GET", target, params=_pairs(query), headers=headers, timeout=timeout) as response:
                if response.status_code == 204:
                    return
                if response.status_code != 200 or not response.headers.get("content-type", "").startswith(
                    "text/event-stream"
                ):
                    response.read()
                    raise self._refusal(response)
                yield from read_events(response.iter_bytes())
        except httpx2.TransportError as error:
            raise self._unreachable(error, begun=False) from error
        except httpx2.DecodingError as error:
            raise Refusal(f"{self.server.url}: {error}", ExitCode.FAILED) from error

    def _send(
        self,
        method: str,
        target: str,
        *,
        query: Query | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        try:
            response = self._http.request(
                method, target, params=_pairs(query or {}), json=body, headers=dict(headers or {})
            )
        except httpx2.TransportError as error:
            lost = not isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout)
            raise self._unreachable(error, begun=method == "POST" and lost) from error
        except (httpx2.InvalidURL, httpx2.DecodingError) as error:
            raise Refusal(f"{self.server.url}: {error}", ExitCode.FAILED) from error
        if not 200 <= response.status_code < 300:
            raise self._refusal(response)
        try:
            return Answer(response.status_code, response.text, response.json(), response.headers.get("etag"))
        except ValueError as error:
            message = f"{self.server.url} answers with something that is no JSON: is it a coordinator?"
            raise Refusal(message, ExitCode.FAILED) from error

    def _unreachable(self, error: httpx2.TransportError, *, begun: bool) -> Refusal:
        what = str(error) or type(error).__name__
        message = f"no answer from {self.server.url} (named by {self.server.named}): {what}"
        if begun:
            message += "; it may have happened all the same: look before you ask again"
        elif isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
            message += "; is it running? `saga context list` shows the servers that you have named"
        return Refusal(message, ExitCode.UNAVAILABLE)

    def _refusal(self, response: httpx2.Response) -> Refusal:
        status = response.status_code
        try:
            problem = response.json()
        except ValueError:
            problem = None
        if not isinstance(problem, dict) or not isinstance(problem.get("detail"), str):
            asked = f"{response.request.method} {response.request.url.path}"
            message, problem = f"{self.server.url} answers {asked} with {status}, and does not say why", {}
        else:
            message = sentence(problem)
        if status == 401:
            message += "; a key comes from a context, or from SAGA_KEY"
        if wait := response.headers.get("retry-after"):
            message += f"; ask again in {wait} s"
        return Refusal(message, code_of(status), status, problem)


def code_of(status: int) -> ExitCode:
    """How a command ends that was answered with this HTTP status."""
    return _CODES.get(status, ExitCode.USAGE if 400 <= status < 500 else ExitCode.FAILED)


def sentence(problem: Mapping[str, Any]) -> str:
    """What a problem says: the detail, where it is, and how to find it in the server's log."""
    detail = str(problem["detail"])
    errors = problem.get("errors")
    for fault in errors if isinstance(errors, list) else []:
        if isinstance(fault, dict):
            place = fault.get("pointer") or fault.get("parameter") or fault.get("header")
            said = f"{place}: {fault.get('detail', '')}" if place else str(fault.get("detail", ""))
            if said not in detail:
                detail += f"; {said}"
    if problem.get("status") == 500:
        detail += f" (request {problem.get('request_id')})"
    return detail


def read_events(chunks: Iterator[bytes]) -> Iterator[Event | None]:
    """Read events as the standard writes them, None for a comment; one that is cut off at the end is none."""
    last_id, kind, data = "", "", list[str]()
    for line in _lines(chunks):
        if not line:
            if data:
                yield Event(last_id, kind or "message", "\n".join(data))
            kind, data = "", []
            continue
        if line.startswith(":"):
            yield None
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            data.append(value)
        elif name == "event":
            kind = value
        elif name == "id" and "\0" not in value:
            last_id = value


def _lines(chunks: Iterator[bytes]) -> Iterator[str]:
    """Lines that a newline ends, and no other character that some would break a line at."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > LINE_BYTES_MAX:
            raise Refusal("the stream sends a line without an end", ExitCode.FAILED)
        for line in lines:
            yield line.removesuffix(b"\r").decode("utf-8", "replace")


def _pairs(query: Query) -> httpx2.QueryParams:
    pairs: list[tuple[str, str]] = []
    for name, value in query.items():
        if value is None:
            continue
        pairs += [(name, str(value))] if isinstance(value, str | int) else [(name, each) for each in value]
    return httpx2.QueryParams(tuple(pairs))


def _trusted(server: Server) -> ssl.SSLContext | bool:
    if not server.url.startswith("https"):
        return True
    try:
        return ssl.create_default_context(cafile=server.ca_file)
    except OSError as error:
        raise misused(f"{server.ca_file} holds no certificates that can be read: {error}") from error


def dumped(value: Any) -> str:
    """JSON on one line, as the API writes it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
