"""The definitions this process knows, by name and version and by the small id that saga rows carry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property

from pydantic import ValidationError

from coordinator.errors import CallerError, Conflict, DefinitionError, InvalidInput
from coordinator.saga.content import Content, content_of
from coordinator.saga.definition import RECOVERY, Retry, SagaDefinition
from coordinator.saga.differences import differences

# A compensation carries the input and the result, and its reader takes 256 KiB.
INPUT_BYTES_MAX = 64 * 1024
RESULT_BYTES_MAX = 128 * 1024
SCHEDULED_MAX_MS = 366 * 86_400_000  # who means longer has mistaken the unit


class VersionHeld(Conflict):
    """The version starts no sagas for now: not every live replica could run them."""

    kind = "version-not-ready"


class Registry:
    """Every known version of every definition; new sagas begin on the newest that every live replica knows.

    `recovery` is for those that do not say themselves how what was given up is tried again.
    """

    def __init__(self, definitions: Iterable[SagaDefinition], recovery: Retry = RECOVERY) -> None:
        written: dict[tuple[str, int], SagaDefinition] = {}
        for definition in definitions:
            key = (definition.name, definition.version)
            if key in written:
                raise DefinitionError(_twice(written[key], definition))
            written[key] = definition
        # What the settings fill in is not content: another setting is not another definition.
        self._written = tuple(written.values())
        self._by_version = {
            key: definition
            if definition.recovery is not None or recovery == RECOVERY
            else replace(definition, recovery=recovery)
            for key, definition in written.items()
        }
        self._newest = _newest(self._by_version.values())
        self._held: dict[tuple[str, int], str] = {}
        self._startable = self._newest
        self._by_id: dict[int, SagaDefinition] = {}
        self._ids: dict[tuple[str, int], int] = {}
        self._names: dict[int, tuple[str, int]] = {}

    def bind(self, ids: Mapping[tuple[str, int], int]) -> None:
        """Take the ids under which the database knows the definitions, as they are here."""
        self._ids = dict(ids)
        self._names |= {identity: key for key, identity in ids.items()}
        self._by_id = {ids[key]: definition for key, definition in self._by_version.items() if key in ids}

    def learn(self, names: Mapping[int, tuple[str, int]], held: Mapping[tuple[str, int], str]) -> None:
        """Take (name, version) of all that was ever registered, and why versions start no sagas for now."""
        self._names = dict(names)
        self._held = dict(held)
        free = (definition for key, definition in self._by_version.items() if key not in held)
        self._startable = _newest(free) if held else self._newest

    @cached_property
    def contents(self) -> list[Content]:
        """The content of every known definition."""
        return [content_of(definition) for definition in self._written]

    @property
    def definitions(self) -> list[SagaDefinition]:
        """Every known version of every definition."""
        return list(self._by_version.values())

    @property
    def ids(self) -> dict[tuple[str, int], int]:
        """The small id of every known (name, version)."""
        return dict(self._ids)

    @property
    def keys(self) -> list[tuple[str, int]]:
        """(name, version) of every known definition."""
        return list(self._by_version)

    @property
    def known_ids(self) -> list[int]:
        """The small ids of the definitions that this process can run."""
        return list(self._by_id)

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

    def find(self, name: str, version: int) -> SagaDefinition | None:
        """The definition of a name and version, or None when this process does not know it."""
        return self._by_version.get((name, version))

    def newest(self, name: str) -> SagaDefinition | None:
        """The newest version of a name, or None when this process knows none."""
        return self._newest.get(name)

    def id_of(self, definition: SagaDefinition) -> int:
        """The small id of a known definition."""
        return self._ids[definition.name, definition.version]

    def label_of_id(self, definition_id: int) -> tuple[str, int]:
        """(name, version) of any definition that was ever registered."""
        return self._names.get(definition_id, (f"#{definition_id}", 0))

    def choose(self, name: str, version: int | None) -> SagaDefinition:
        """The definition that a start request means; raises InvalidInput with what is known, VersionHeld with why."""
        if version is None:
            definition = self._startable.get(name) or self._newest.get(name)
        else:
            definition = self._by_version.get((name, version))
        if definition is None:
            raise self._not_here(name, version)
        if self._held and (name, definition.version) in self._held:
            raise self._on_hold(name, definition.version)
        return definition

    def _not_here(self, name: str, version: int | None) -> CallerError:
        elsewhere = [number for known, number in self._held if known == name and version in (None, number)]
        if elsewhere:
            return self._on_hold(name, max(elsewhere))
        wanted = name if version is None else f"{name} version {version}"
        known = ", ".join(f"{known} ({number})" for known, number in sorted(self._by_version))
        return InvalidInput(f"there is no definition {wanted}; known are: {known}", "/definition")

    def _on_hold(self, name: str, version: int) -> VersionHeld:
        return VersionHeld(f"{name} version {version} starts no sagas for now: {self._held[name, version]}")


def _newest(definitions: Iterable[SagaDefinition]) -> dict[str, SagaDefinition]:
    """The newest version by name."""
    return {each.name: each for each in sorted(definitions, key=lambda each: each.version)}


def _twice(first: SagaDefinition, second: SagaDefinition) -> str:
    what = f"{first.name} version {first.version}"
    lines = differences(content_of(first).document, content_of(second).document)
    if not lines:
        return f"{what} is defined twice"
    return f"{what} is defined twice, with two contents: {'; '.join(lines)}. Give one of them another version"


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


def check_start_at(start_at_ms: int, now_ms: int) -> None:
    """Check the moment for which a saga is to be scheduled; one that has passed means at once. Raises InvalidInput."""
    if start_at_ms > now_ms + SCHEDULED_MAX_MS:
        days = SCHEDULED_MAX_MS // 86_400_000
        raise InvalidInput(f"a start can be delayed by {days} days at most", "/start_at")


def _escaped(part: int | str) -> str:
    """One part of a JSON pointer (RFC 6901)."""
    return str(part).replace("~", "~0").replace("/", "~1")
