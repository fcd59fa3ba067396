"""The routes that show definitions."""

from __future__ import annotations

import msgspec

from coordinator.api.documents.common import PARAMETER_PROBLEMS
from coordinator.api.openapi import Answer, Document
from coordinator.services.catalogue import DefinitionView


class DefinitionList(msgspec.Struct, frozen=True):
    """Every version of every definition, by name."""

    definitions: list[DefinitionView]


OPENAPI = Document("getOpenapi", "definitions", "This document", {200: Answer("OpenAPI 3.1")})
DEFINITIONS = Document(
    "listDefinitions",
    "definitions",
    "The versions of all definitions, and how many sagas run on each",
    {200: Answer("All that are loaded here or were ever registered", DefinitionList)},
    PARAMETER_PROBLEMS,
)
