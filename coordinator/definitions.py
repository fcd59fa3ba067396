"""Finding the saga definitions that the settings name, as `module:attribute`."""

from __future__ import annotations

import importlib

from coordinator.errors import ConfigurationError, DefinitionError
from coordinator.saga.choreography import ChoreographyDefinition
from coordinator.saga.definition import SagaDefinition


def load_definitions(where: str) -> tuple[SagaDefinition, ...]:
    """Import `module:attribute`, a tuple of definitions; raises ConfigurationError with what is wrong."""
    module_name, _, attribute = where.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), attribute or "definitions")
    except (ImportError, AttributeError, DefinitionError) as error:
        raise ConfigurationError(f"SAGA_DEFINITIONS={where}: {error}") from error
    if not isinstance(found, tuple) or not all(isinstance(item, SagaDefinition) for item in found) or not found:
        raise ConfigurationError(f"SAGA_DEFINITIONS={where} must be a tuple of saga definitions, not empty")
    return found


def load_choreographies(where: str | None) -> tuple[ChoreographyDefinition, ...]:
    """Import `module:attribute`, a tuple of choreographies; None are none; raises ConfigurationError."""
    if where is None:
        return ()
    module_name, _, attribute = where.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), attribute or "choreographies")
    except (ImportError, AttributeError, DefinitionError) as error:
        raise ConfigurationError(f"SAGA_CHOREOGRAPHIES={where}: {error}") from error
    if not isinstance(found, tuple) or not all(isinstance(item, ChoreographyDefinition) for item in found):
        raise ConfigurationError(f"SAGA_CHOREOGRAPHIES={where} must be a tuple of choreographies")
    return found
