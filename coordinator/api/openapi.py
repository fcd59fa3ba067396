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
_AWAY = {503: "Kafka or Postgres is away: ask again"}
_ASKED = {401: "Nobody that is known here", 403: "The role lacks the permission", 429: "Too many requests: ask later"}


class Answer(msgspec.Struct, frozen=True):
    """An answer that a route may give: what it means, its shape (None: no body), and its media type.

    `links` are the routes that go on from here, by their operation ids: their parameters as runtime expressions.
    """

    text: str
    shape: type | None = None
    media_type: str = JSON
    example: Any = None
    links: Mapping[str, Mapping[str, str]] = {}


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


def in_query(name: str, text: str, shape: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a query parameter that may be left out."""
    return {"name": name, "in": "query", "required": False, "description": text, "schema": shape}


def in_path(name: str, shape: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a part of the path."""
    return {"name": name, "in": "path", "required": True, "schema": shape}


def in_header(name: str, text: str, shape: Mapping[str, Any], *, required: bool = False) -> dict[str, Any]:
    """Describe a header of the request."""
    return {"name": name, "in": "header", "required": required, "description": text, "schema": shape}


def write(title: str, description: str, tags: Mapping[str, str], routes: Sequence[Declared]) -> dict[str, Any]:
    """Write the document of these routes; `tags` are what groups of routes are about."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": "1", "description": description},
        "tags": [{"name": name, "description": text} for name, text in tags.items()],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": _shapes([route.document for route in routes]),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, or an OIDC access token."}
            },
        },
    }


def _operation(route: Declared) -> dict[str, Any]:
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
    problems = {**_ASKED, **_AWAY, **document.problems}
    operation["responses"] = {
        **{str(status): _answer(answer) for status, answer in document.answers.items()},
        **{
            str(status): {"description": text, "content": {MEDIA_TYPE: {"schema": _ref(Problem)}}}
            for status, text in sorted(problems.items())
        },
    }
    return operation


def _answer(answer: Answer) -> dict[str, Any]:
    described: dict[str, Any] = {"description": answer.text}
    if answer.shape is not None:
        content: dict[str, Any] = {"schema": _ref(answer.shape)}
        if answer.example is not None:
            content["example"] = answer.example
        described["content"] = {answer.media_type: content}
    if answer.links:
        described["links"] = {
            operation_id: {"operationId": operation_id, "parameters": dict(parameters)}
            for operation_id, parameters in answer.links.items()
        }
    return described


def _ref(shape: type) -> dict[str, str]:
    return {"$ref": _REF.format(name=shape.__name__)}


def _shapes(documents: Sequence[Document]) -> dict[str, Any]:
    answers = {
        answer.shape for document in documents for answer in document.answers.values() if answer.shape is not None
    }
    _, shapes = msgspec.json.schema_components(
        [*sorted(answers, key=lambda shape: shape.__name__), Problem], ref_template=_REF
    )
    bodies = {document.body for document in documents if document.body is not None}
    for body in sorted(bodies, key=lambda shape: shape.__name__):
        schema = body.model_json_schema(ref_template=_REF.replace("{name}", "{model}"))
        shapes.update(schema.pop("$defs", {}))
        shapes[body.__name__] = schema
    return dict(sorted(shapes.items()))
