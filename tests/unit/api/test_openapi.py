"""docs/openapi.json is what the app serves: complete, with examples that fit, and links that lead somewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from coordinator.engine.registry import Registry
from sagas import definitions
from tests.unit.api.hall import ByHeader, client, hall

PUBLISHED = Path(__file__).parents[3] / "docs" / "openapi.json"
ALWAYS = {"401", "403", "429", "503"}
IN_BODY = re.compile(r"\$response\.body#(/.*)")


async def _served() -> dict[str, Any]:
    async with client(hall(ByHeader(), registry=Registry(definitions))) as asking:
        answer = await asking.get("/v1/openapi.json", headers={"x-test-role": "viewer"})
    document: dict[str, Any] = answer.json()
    return document


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The document as it is checked in."""
    found: dict[str, Any] = json.loads(PUBLISHED.read_text())
    return found


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def _contents(operation: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """What is sent and answered: status ("" for what is sent), media type, and what is said of it."""
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        yield "", media_type, content
    for status, response in operation["responses"].items():
        for media_type, content in response.get("content", {}).items():
            yield status, media_type, content


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        yield from (child for key, child in node.items() if key == "$ref")
        for child in node.values():
            yield from _references(child)
    elif isinstance(node, list):
        for child in node:
            yield from _references(child)


def _at(document: Any, pointer: str) -> Any:
    for part in pointer.removeprefix("#").strip("/").split("/"):
        document = document[int(part) if isinstance(document, list) else part]
    return document


async def test_the_document_in_docs_is_the_one_that_is_served(rewrite: bool) -> None:
    """docs/openapi.json is the app's own with the definitions in sagas/; `pytest --rewrite` prints it anew."""
    printed = json.dumps(await _served(), indent=2, ensure_ascii=False) + "\n"
    if rewrite:
        PUBLISHED.write_text(printed)
    else:
        assert printed == PUBLISHED.read_text()


def test_everything_that_is_referred_to_is_there(document: dict[str, Any]) -> None:
    """Each reference leads to a part of the document, and each schema is a JSON Schema."""
    for reference in _references(document):
        assert _at(document, reference), reference
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_each_body_and_each_answer_has_an_example_that_fits(document: dict[str, Any]) -> None:
    """What is sent and what is answered is shown, and is what its schema says; problems have one schema for all."""
    for name, operation in _operations(document):
        for status, media_type, content in _contents(operation):
            if media_type == "application/problem+json" or operation["operationId"] == "getOpenapi":
                continue
            assert "example" in content, (name, status)
            if media_type == "application/json":
                schema = {**content["schema"], "components": document["components"]}
                faults = [fault.message for fault in Draft202012Validator(schema).iter_errors(content["example"])]
                assert not faults, (name, status, faults)


def test_each_route_tells_what_may_go_wrong(document: dict[str, Any]) -> None:
    """Each answer of each route is told, with what it has of headers; who changes something is told of more."""
    for name, operation in _operations(document):
        responses = {
            status: _at(document, response["$ref"]) if "$ref" in response else response
            for status, response in operation["responses"].items()
        }
        assert responses.keys() >= ALWAYS | {"422"}, name
        if name.startswith("POST"):
            assert responses.keys() >= {"400", "408", "413", "415"}, name
        if "{" in name:
            assert "404" in responses, name
        assert "WWW-Authenticate" in responses["401"]["headers"]
        assert all("Retry-After" in responses[status]["headers"] for status in ("429", "503"))
        assert all("X-Request-Id" in response["headers"] for response in responses.values()), name


def test_links_lead_from_an_answer_to_a_route(document: dict[str, Any]) -> None:
    """A link names an operation, gives parameters of it, and takes them from where an answer has them."""
    operations = {operation["operationId"]: operation for _, operation in _operations(document)}
    count = 0
    for name, operation in _operations(document):
        for response in operation["responses"].values():
            for link in response.get("links", {}).values():
                count += 1
                target = operations[link["operationId"]]
                known = {parameter["name"] for parameter in target["parameters"]}
                assert link["parameters"].keys() <= known, name
                example = response["content"]["application/json"]["example"]
                for expression in link["parameters"].values():
                    found = IN_BODY.fullmatch(expression)
                    assert found, expression
                    assert _at(example, found[1]) is not None, (name, expression)
    assert count > 50


def test_a_start_is_described_for_each_definition(document: dict[str, Any]) -> None:
    """What is sent to start a saga is one of the loaded definitions' inputs, whole."""
    schema = {"$ref": "#/components/schemas/StartBody", "components": document["components"]}
    validator = Draft202012Validator(schema)
    example = document["paths"]["/v1/sagas"]["post"]["requestBody"]["content"]["application/json"]["example"]
    assert validator.is_valid(example)
    assert len(document["components"]["schemas"]["StartBody"]["oneOf"]) == len(definitions)
    for wrong in (
        {**example, "definition": "Nothing"},
        {**example, "version": 99},
        {**example, "input": {}},
        {**example, "input": {**example["input"], "amount_cents": "much"}},
        {**example, "state": "completed"},
    ):
        assert not validator.is_valid(wrong), wrong
