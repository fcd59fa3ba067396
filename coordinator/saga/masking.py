"""Masking: what a definition declares sensitive is replaced before anybody sees it who may not.

Whatever does not look as declared is masked rather than shown: a text where an object should be, all of a payload whose
definition is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any, Final

import msgspec

from coordinator.saga.choreography import ChoreographyDefinition
from coordinator.saga.definition import SagaDefinition, Step
from coordinator.saga.sensitive import EACH, Path, input_paths, payload_paths, resolved, result_paths

MASK: Final = "[masked]"
SECRET_MIN: Final = 4  # characters of a value that is looked for in texts: a shorter one is in every sentence
ALL: Final[tuple[Path, ...]] = ((),)

_TEXTS: Final = frozenset({"error", "problem", "reason", "detail"})
_HIDDEN: Final = msgspec.Raw(b'"[masked]"')


def masked(tree: Any, paths: Iterable[Path]) -> Any:
    """A JSON tree with MASK in the place of what the paths lead to; the tree itself stays as it is."""
    for path in paths:
        tree = _masked(tree, path)
    return tree


class Masks:
    """Masks what belongs to sagas of one definition; None is one that this process does not know.

    `input_` is the input of the saga that is shown, where it is at hand: its sensitive values are looked for in texts.
    """

    def __init__(self, definition: SagaDefinition | ChoreographyDefinition | None, input_: bytes | None = None) -> None:
        self._definition = definition
        self._raw = input_

    @cached_property
    def _input(self) -> tuple[Path, ...]:
        if isinstance(self._definition, SagaDefinition):
            return input_paths(self._definition)
        if isinstance(self._definition, ChoreographyDefinition):
            return tuple(resolved(None, path) for path in self._definition.sensitive)
        return ALL

    @cached_property
    def _secrets(self) -> list[str]:
        """The sensitive values of the input, the longest first."""
        tree = None if self._raw is None else msgspec.json.decode(self._raw)
        found = {str(leaf) for path in self._input for leaf in _leaves(tree, path)}
        return sorted((text for text in found if len(text) >= SECRET_MIN), key=len, reverse=True)

    def text(self, text: str) -> str:
        """A sentence that somebody wrote about a saga, without sensitive values that it repeats literally."""
        if self._definition is None:
            return MASK
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text

    def input(self, raw: msgspec.Raw) -> msgspec.Raw:
        """A saga's input."""
        return _written(raw, self._input)

    def payload(self, step_name: str | None, raw: msgspec.Raw) -> msgspec.Raw:
        """What a step's commands carry."""
        return _written(raw, self._of_step(step_name, payload_paths))

    def result(self, step_name: str | None, raw: msgspec.Raw) -> msgspec.Raw:
        """What a participant, or a person, says came of a step."""
        return _written(raw, self._of_step(step_name, _result_paths))

    def fields(self, step_name: str | None, raw: msgspec.Raw) -> msgspec.Raw:
        """An object with payloads and results among its members: a transition's data, a command, a reply."""
        tree = msgspec.json.decode(raw)
        if not isinstance(tree, dict):
            return _HIDDEN
        return msgspec.Raw(msgspec.json.encode({name: self._member(name, step_name, tree[name]) for name in tree}))

    def _member(self, name: str, step_name: str | None, value: Any) -> Any:
        if value is None:
            return None
        if name == "input":
            return masked(value, self._input)
        if name in ("payload", "original_payload"):
            return masked(value, self._of_step(step_name, payload_paths))
        if name in ("result", "original_result"):
            return masked(value, self._of_step(step_name, _result_paths))
        if name in _TEXTS:
            return self._said(value)
        return value

    def _said(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._said(each) for name, each in value.items()}
        return self.text(value) if isinstance(value, str) else value

    def _of_step(
        self, step_name: str | None, paths: Callable[[SagaDefinition, Step], tuple[Path, ...]]
    ) -> tuple[Path, ...]:
        """The paths of a step; of one that there is not, everything."""
        definition = self._definition
        if not isinstance(definition, SagaDefinition) or step_name not in definition.index:
            return ALL
        return paths(definition, definition.steps[definition.index[step_name]])


def _result_paths(_: SagaDefinition, step: Step) -> tuple[Path, ...]:
    return result_paths(step)


def _written(raw: msgspec.Raw, paths: tuple[Path, ...]) -> msgspec.Raw:
    if not paths:
        return raw
    if paths == ALL:
        return _HIDDEN
    return msgspec.Raw(msgspec.json.encode(masked(msgspec.json.decode(raw), paths)))


def _leaves(node: Any, path: Path) -> Iterator[Any]:
    """The values in the place of which `_masked` puts its text, one by one."""
    if isinstance(node, list):
        for item in node:
            yield from _leaves(item, path[1:] if path and EACH in path[0] else path)
    elif isinstance(node, dict):
        for name, each in node.items():
            if not path or EACH in path[0] or name in path[0]:
                yield from _leaves(each, path[1:])
    elif isinstance(node, str | int | float) and not isinstance(node, bool):
        yield node


def _masked(node: Any, path: Path) -> Any:
    if not path:
        return MASK
    names, rest = path[0], path[1:]
    if isinstance(node, list):  # items are looked into whether or not the path says so
        return [_masked(item, rest if EACH in names else path) for item in node]
    if isinstance(node, dict):
        return {name: _masked(each, rest) if EACH in names or name in names else each for name, each in node.items()}
    return node if node is None else MASK
