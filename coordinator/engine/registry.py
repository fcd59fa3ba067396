"""The definitions this process knows, by name and version and by the small id that saga rows carry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydantic import ValidationError

from coordinator.errors import DefinitionError, InvalidInput
from coordinator.saga.definition import SagaDefinition

# A compensation carries the input and the result, and its reader takes 256 KiB.
INPUT_BYTES_MAX = 64 * 1024
RESULT_BYTES_MAX = 128 * 1024


class Registry:
    """Every known version of every definition; new sagas begin on the newest."""

    def __init__(self, definitions: Iterable[SagaDefinition]) -> None:
        self._by_version: dict[tuple[str, int], SagaDefinition] = {}
        self._newest: dict[str, SagaDefinition] = {}
        for definition in definitions:
            key = (definition.name, definition.version)
            if key in self._by_version:
                raise DefinitionError(f"{definition.name} version {definition.version} is defined twice")
            self._by_version[key] = definition
            newest = self._newest.get(definition.name)
            if newest is None or newest.version < definition.version:
                self._newest[definition.name] = definition
        self._by_id: dict[int, SagaDefinition] = {}
        self._ids: dict[tuple[str, int], int] = {}
        self._names: dict[int, tuple[str, int]] = {}

    def bind(self, ids: Mapping[tuple[str, int], int]) -> None:
        """Take the ids under which the database knows the definitions."""
        self._ids = dict(ids)
        self._names = {identity: key for key, identity in ids.items()}
        self._by_id = {ids[key]: definition for key, definition in self._by_version.items() if key in ids}

    @property
    def keys(self) -> list[tuple[str, int]]:
        """(name, version) of every known definition."""
        return list(self._by_version)

    @property
    def names(self) -> list[str]:
        """The names of the known definitions, sorted."""
        return sorted(self._newest)

    @property
    def participants(self) -> list[str]:
        """The participants of all known definitions, sorted."""
        return sorted({name for definition in self._by_version.values() for name in definition.participants})

    def of_id(self, definition_id: int) -> SagaDefinition | None:
        """The definition of a saga row, or None when this process does not know it."""
        return self._by_id.get(definition_id)

    def id_of(self, definition: SagaDefinition) -> int:
        """The small id of a known definition."""
        return self._ids[definition.name, definition.version]

    def label_of_id(self, definition_id: int) -> tuple[str, int]:
        """(name, version) of any definition that was ever registered."""
        return self._names.get(definition_id, (f"#{definition_id}", 0))

    def ids_of_name(self, name: str) -> list[int]:
        """The small ids of all versions of a name that were ever registered."""
        return [identity for (known, _), identity in self._ids.items() if known == name]

    def choose(self, name: str, version: int | None) -> SagaDefinition:
        """The definition that a start request means; raises InvalidInput with what is known."""
        definition = self._newest.get(name) if version is None else self._by_version.get((name, version))
        if definition is None:
            wanted = name if version is None else f"{name} version {version}"
            known = ", ".join(f"{known} ({number})" for known, number in sorted(self._by_version))
            raise InvalidInput(f"there is no definition {wanted}; known are: {known}", "/definition")
        return definition


def check_input(definition: SagaDefinition, raw: bytes) -> str:
    """Check a saga's input (JSON text) against its model, strictly; answers the business key.

    Raises InvalidInput with the pointer of the first wrong field.
    """
    if len(raw) > INPUT_BYTES_MAX:
        raise InvalidInput(f"the input has {len(raw)} bytes as JSON; at most {INPUT_BYTES_MAX} are taken", "/input")
    try:
        value = definition.input.__pydantic_validator__.validate_json(raw, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        pointer = "".join(f"/{_escaped(part)}" for part in ("input", *first["loc"]))
        raise InvalidInput(first["msg"], pointer) from None
    key: str = getattr(value, definition.business_key)
    if not 1 <= len(key) <= 200 or not key.isprintable():
        raise InvalidInput("a business key is 1 to 200 printable characters", f"/input/{definition.business_key}")
    return key


def _escaped(part: int | str) -> str:
    """One part of a JSON pointer (RFC 6901)."""
    return str(part).replace("~", "~0").replace("/", "~1")
