"""The routes that show definitions."""

from __future__ import annotations

import msgspec

from coordinator.api.documents.common import DEFINITION_NAME, PARAMETER_PROBLEMS
from coordinator.api.openapi import Answer, Document, Link, in_path
from coordinator.services.catalogue import DefinitionDetail, DefinitionView


class DefinitionList(msgspec.Struct, frozen=True):
    """Every version of every definition, by name."""

    definitions: list[DefinitionView]


OPENAPI = Document("getOpenapi", "definitions", "This document", {200: Answer("OpenAPI 3.1", dict)}, PARAMETER_PROBLEMS)
DEFINITIONS = Document(
    "listDefinitions",
    "definitions",
    "The versions of all definitions, and how many sagas run on each",
    {
        200: Answer(
            "All that are loaded here or were ever registered",
            DefinitionList,
            links={
                "getDefinition": Link(
                    {
                        "name": "$response.body#/definitions/0/name",
                        "version": "$response.body#/definitions/0/version",
                    }
                )
            },
        )
    },
    PARAMETER_PROBLEMS,
)
DEFINITION = Document(
    "getDefinition",
    "definitions",
    "A version of a definition: its steps as data, what it is started with, and how many sagas there are of it",
    {200: Answer("The version", DefinitionDetail)},
    {404: "There is no such version", **PARAMETER_PROBLEMS},
    parameters=[
        in_path("name", DEFINITION_NAME),
        in_path("version", {"type": "integer", "minimum": 1, "maximum": 32_767}),
    ],
)
