"""The choreographies this process knows: by name and version, by the id that rows carry, by the events they expect."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Final

from coordinator.errors import DefinitionError
from coordinator.saga.choreography import ChoreographyDefinition
from coordinator.saga.content import Content, content_of

OBSERVED_PART: Final = -1  # the partition of all observed sagas: one that no engine can own


class Choreographies:
    """Every known version of every choreography; new sagas begin on the newest that knows the event."""

    def __init__(self, definitions: Iterable[ChoreographyDefinition] = ()) -> None:
        self._by_version: dict[tuple[str, int], ChoreographyDefinition] = {}
        for definition in definitions:
            key = (definition.name, definition.version)
            if key in self._by_version:
                raise DefinitionError(f"{definition.name} version {definition.version} is defined twice")
            self._by_version[key] = definition
        self._by_event: dict[tuple[str, str], dict[str, ChoreographyDefinition]] = {}
        for _, definition in sorted(self._by_version.items()):
            for event in definition.events:
                self._by_event.setdefault((event.source, event.type), {})[definition.name] = definition
        self._ids: dict[tuple[str, int], int] = {}
        self._by_id: dict[int, ChoreographyDefinition] = {}

    def check_names(self, taken: Iterable[str]) -> None:
        """Refuse names that commanded sagas have: a business key is unique per name. Raises DefinitionError."""
        for name in sorted({*taken} & {*self.names}):
            raise DefinitionError(f"{name} is the name of a saga definition: the choreography needs another one")

    def bind(self, ids: Mapping[tuple[str, int], int]) -> None:
        """Take the ids under which the database knows the definitions."""
        self._ids = {key: ids[key] for key in self._by_version}
        self._by_id = {ids[key]: definition for key, definition in self._by_version.items()}

    @cached_property
    def contents(self) -> list[Content]:
        """The content of every known choreography."""
        return [content_of(definition) for definition in self._by_version.values()]

    @property
    def sizes(self) -> list[tuple[Content, int]]:
        """The contents with the number of events of each."""
        return list(zip(self.contents, (len(each.events) for each in self._by_version.values()), strict=True))

    @property
    def names(self) -> list[str]:
        """The names of the known choreographies, sorted."""
        return sorted({name for name, _ in self._by_version})

    @property
    def sources(self) -> list[str]:
        """Whose events are expected, sorted."""
        return sorted({source for definition in self._by_version.values() for source in definition.sources})

    def of_id(self, definition_id: int) -> ChoreographyDefinition | None:
        """The choreography of a saga row, or None when this process does not know it."""
        return self._by_id.get(definition_id)

    def id_of(self, definition: ChoreographyDefinition) -> int:
        """The small id of a known choreography."""
        return self._ids[definition.name, definition.version]

    def find(self, name: str, version: int | None) -> ChoreographyDefinition | None:
        """The choreography of a name and version (None: the newest), if there is one."""
        versions = [number for known, number in self._by_version if known == name]
        chosen = max(versions, default=0) if version is None else version
        return self._by_version.get((name, chosen))

    def expecting(self, source: str, type_: str) -> list[ChoreographyDefinition]:
        """The choreographies that an event belongs to, of each name the newest version that knows it."""
        return list(self._by_event.get((source, type_), {}).values())
