"""The OpenAPI document, written from what the routes declare: shapes of bodies and answers, with examples.

Request bodies are pydantic models, because these check them; answers are the structs that are written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from pydantic import BaseModel

from coordinator.api.problems import MEDIA_TYPE, Problem

if TYPE_CHECKING:
    from coordinator.api.routes import Declared

JSON = "application/json"
EVENT_STREAM = "text/event-stream"

_REF = "#/components/schemas/{name}"
_ASKED = {401: "Nobody that is known here", 403: "The role lacks the permission", 429: "Too many requests: ask later"}
_AWAY = {503: "Kafka or Postgres is away: ask again"}
_KEPT = "Idempotency-Key"
_IN_FLIGHT = {409: "The same request is being answered"}
_HEADERS = {
    "X-Request-Id": ("The id of this request in our logs and in the audit: the client's, if it was sane.", True),
    "ETag": ("The version of what is shown, for If-Match.", True),
    "Location": ("Where that is which was made.", True),
    "WWW-Authenticate": ("How to say who asks.", True),
    "Retry-After": ("After how many seconds to ask again.", True),
    "Idempotency-Replayed": ("`true` where the same request was answered before, and this is that answer.", False),
}
_EVERYWHERE = {**_ASKED, **_AWAY}
_COMMON = {401: "Unauthenticated", 403: "Forbidden", 429: "TooOften", 503: "Unavailable"}
_REPLAYED = frozenset({*range(200, 300), 404, 409, 410, 412})
_SENT_WITH = {401: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}


class Link(msgspec.Struct, frozen=True):
    """A route that goes on from an answer: its parameters and its body, with runtime expressions in them."""

    parameters: Mapping[str, str] = {}
    body: Any = None


class Answer(msgspec.Struct, frozen=True):
    """An answer that a route may give: what it means, its shape (None: no body), and its media type.

    `links` are the routes that go on from here, by their operation ids; `headers` are the names of those that it has
    besides those of every answer.
    """

    text: str
    shape: type | None = None
    media_type: str = JSON
    example: Any = None
    links: Mapping[str, Link] = {}
    headers: Sequence[str] = ()


class Document(msgspec.Struct, frozen=True):
    """What is said of a route; `problems` are its errors by status, besides those that every route has.

    `operation_id` names the route for clients (camelCase) and never changes.
    """

    operation_id: str
    tag: str
    summary: str
    answers: Mapping[int, Answer]
    problems: Mapping[int, str] = {}
    body: type[BaseModel] | None = None
    example: Any = None
    parameters: Sequence[Mapping[str, Any]] = ()


class Info(msgspec.Struct, frozen=True):
    """What is said of the whole; `examples` are those of shapes, where an answer has none of its own."""

    title: str
    description: str
    tags: Mapping[str, str]
    examples: Mapping[type, Any]


def in_query(name: str, text: str, shape: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a query parameter that may be left out."""
    return {"name": name, "in": "query", "required": False, "description": text, "schema": shape}


def in_path(name: str, shape: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a part of the path."""
    return {"name": name, "in": "path", "required": True, "schema": shape}


def in_header(name: str, text: str, shape: Mapping[str, Any], *, required: bool = False) -> dict[str, Any]:
    """Describe a header of the request."""
    return {"name": name, "in": "header", "required": required, "description": text, "schema": shape}


def write(info: Info, routes: Sequence[Declared], starts: Mapping[str, Any]) -> dict[str, Any]:
    """Write the document of these routes; `starts` are the shapes of what starts sagas (coordinator.api.starts)."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, info.examples)
    return {
        "openapi": "3.1.0",
        "info": {"title": info.title, "version": "1", "description": info.description},
        "tags": [{"name": name, "description": text} for name, text in info.tags.items()],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted({**_shapes([route.document for route in routes]), **starts}.items())),
            "responses": {_COMMON[status]: _problem(status, text) for status, text in _EVERYWHERE.items()},
            "headers": {name: _header(name) for name in _HEADERS},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, or an OIDC access token."}
            },
        },
    }


def _header(name: str) -> dict[str, Any]:
    text, always = _HEADERS[name]
    return {"description": text, "required": always, "schema": {"type": "string"}}


def _operation(route: Declared, examples: Mapping[type, Any]) -> dict[str, Any]:
    document = route.document
    operation: dict[str, Any] = {
        "operationId": document.operation_id,
        "tags": [document.tag],
        "summary": document.summary,
        "x-permission": route.needs,
        "parameters": list(document.parameters),
    }
    if document.body is not None:
        content: dict[str, Any] = {"schema": _ref(document.body)}
        if document.example is not None:
            content["example"] = document.example
        operation["requestBody"] = {"required": True, "content": {JSON: content}}
    kept = any(parameter["name"] == _KEPT for parameter in document.parameters)
    problems = {**_EVERYWHERE, **(_IN_FLIGHT if kept else {}), **document.problems}
    responses = {status: _answer(answer, examples) for status, answer in document.answers.items()}
    responses |= {status: _problem(status, text) for status, text in sorted(problems.items())}
    if kept:
        for status in _REPLAYED & responses.keys():
            _add_headers(responses[status], ["Idempotency-Replayed"])
    operation["responses"] = {str(status): response for status, response in responses.items()}
    for status, text in _EVERYWHERE.items():
        if problems[status] == text:
            operation["responses"][str(status)] = {"$ref": f"#/components/responses/{_COMMON[status]}"}
    return operation


def _problem(status: int, text: str) -> dict[str, Any]:
    problem: dict[str, Any] = {"description": text, "content": {MEDIA_TYPE: {"schema": _ref(Problem)}}}
    _add_headers(problem, ["X-Request-Id", *_SENT_WITH.get(status, ())])
    return problem


def _answer(answer: Answer, examples: Mapping[type, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {"description": answer.text}
    _add_headers(described, ["X-Request-Id", *answer.headers])
    if answer.shape is not None:
        content: dict[str, Any] = {"schema": _ref(answer.shape)}
        example = examples.get(answer.shape) if answer.example is None else answer.example
        if example is not None:
            content["example"] = example
        described["content"] = {answer.media_type: content}
    if answer.links:
        described["links"] = {operation_id: _link(operation_id, link) for operation_id, link in answer.links.items()}
    return described


def _add_headers(described: dict[str, Any], names: Sequence[str]) -> None:
    headers = described.setdefault("headers", {})
    headers.update({name: {"$ref": f"#/components/headers/{name}"} for name in names})


def _link(operation_id: str, link: Link) -> dict[str, Any]:
    written: dict[str, Any] = {"operationId": operation_id, "parameters": dict(link.parameters)}
    if link.body is not None:
        written["requestBody"] = link.body
    return written


def _ref(shape: type) -> dict[str, str]:
    if shape is dict:
        return {"type": "object"}
    return {"$ref": _REF.format(name=shape.__name__)}


def _shapes(documents: Sequence[Document]) -> dict[str, Any]:
    answers = {
        answer.shape
        for document in documents
        for answer in document.answers.values()
        if answer.shape is not None and answer.shape is not dict
    }
    _, shapes = msgspec.json.schema_components(
        [*sorted(answers, key=lambda shape: shape.__name__), Problem], ref_template=_REF
    )
    bodies = {document.body for document in documents if document.body is not None}
    for body in sorted(bodies, key=lambda shape: shape.__name__):
        schema = body.model_json_schema(ref_template=_REF.replace("{name}", "{model}"))
        shapes.update(schema.pop("$defs", {}))
        shapes[body.__name__] = schema
    return shapes
