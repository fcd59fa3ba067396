"""Sensitive fields: which paths a definition may declare, and what they lead to in the JSON of a message.

    sensitive=("card.token", "passengers.*.passport")

A path names fields from the outside in; `*` stands for every item of a list or every value of an object with free keys.
A path is taken only when the models have what it names: a field that is misspelt would be shown to everybody.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias, Union, get_args, get_origin, get_type_hints

from pydantic import AliasChoices, BaseModel
from pydantic.fields import FieldInfo

from coordinator.saga import paths

if TYPE_CHECKING:
    from coordinator.saga.definition import SagaDefinition, Step

EACH: Final = "*"
RESULT: Final = "result"
PAYLOAD: Final = "payload"

# One place per step inwards: the names under which the field may stand, its aliases among them, or EACH alone.
Path: TypeAlias = tuple[frozenset[str], ...]

_PATH = re.compile(r"[^.*\s]+(?:\.(?:[^.*\s]+|\*))*")
_MANY = (list, tuple, set, frozenset, Sequence, AbstractSet)


class Unfit(Exception):
    """A path leads nowhere; the text is the sentence that says why."""


def resolved(shape: Any, path: str) -> Path:
    """What a path leads to within a model, or within any object where `shape` is None; raises Unfit."""
    if not _PATH.fullmatch(path):
        raise Unfit(f"{path!r} is no path: names with dots between them, and * for every item, such as 'items.*.sku'")
    found: list[frozenset[str]] = []
    shapes = [Any if shape is None else shape]
    for part in path.split("."):
        names, shapes = _inwards(shapes, part, path)
        found.append(names)
    return tuple(found)


def problems(definition: SagaDefinition) -> list[str]:
    """List what is wrong with the sensitive fields of a definition."""
    declared_by = {definition.name: definition.sensitive, **{step.name: step.sensitive for step in definition.steps}}
    for name, given in declared_by.items():
        if not isinstance(given, tuple) or not all(isinstance(path, str) for path in given):
            return [f"the sensitive fields of {name!r} must be a tuple of paths"]
    found = []
    for path in definition.sensitive:
        found += _unfit(definition.input, path, "sensitive")
        if path == definition.business_key:
            found.append(f"sensitive: {path!r} is the business key, which lists and events show: it cannot be masked")
    for step in definition.steps:
        found += [f"step {step.name!r}: {sentence}" for sentence in _step_problems(step)]
    return found


def declared(step: Step, part: str) -> tuple[str, ...]:
    """The sensitive paths of a step's result or payload, without the word that says which."""
    return tuple(path.removeprefix(f"{part}.") for path in step.sensitive if path.startswith(f"{part}."))


def result_paths(step: Step) -> tuple[Path, ...]:
    """What is sensitive in a step's result."""
    return tuple(resolved(step.result, path) for path in declared(step, RESULT))


def payload_paths(definition: SagaDefinition, step: Step) -> tuple[Path, ...]:
    """What is sensitive in a step's payload.

    A payload of paths takes after what they lead to. What a function makes of sensitive fields nobody knows: unless the
    step says which, it is all of it, which is the empty path.
    """
    given = tuple(resolved(_made(step), path) for path in declared(step, PAYLOAD))
    inputs = input_paths(definition)
    if step.payload is None:
        return inputs
    if callable(step.payload):
        secrets = inputs or any(declared(other, RESULT) for other in definition.steps)
        return ((),) if secrets and not given else given
    sources = {each.name: result_paths(each) for each in definition.steps} | {paths.INPUT: inputs}
    return (*given, *_inherited(step.payload, sources))


def input_paths(definition: SagaDefinition) -> tuple[Path, ...]:
    """What is sensitive in a saga's input."""
    return tuple(resolved(definition.input, path) for path in definition.sensitive)


def _inherited(payload: Mapping[str, Any], sources: Mapping[str, tuple[Path, ...]]) -> Iterator[Path]:
    for field, origin_path in paths.walk(payload):
        origin, *taken = origin_path.split(".")
        place = tuple(frozenset((name,)) for name in field.split("."))
        for secret in sources[origin]:
            if all(name in names for name, names in zip(taken, secret, strict=False)):
                yield place + secret[len(taken) :]


def _step_problems(step: Step) -> Iterator[str]:
    for path in step.sensitive:
        part, _, rest = path.partition(".")
        if part == RESULT and rest:
            yield from _unfit(step.result, rest, f"sensitive {RESULT}")
        elif part != PAYLOAD or not rest:
            yield f"sensitive: {path!r} begins with neither 'result.' nor 'payload.'"
        elif step.payload is None:
            yield f"sensitive: {path!r}: the payload is the saga's input, whose sensitive fields the definition names"
        else:
            yield from _unfit(_made(step), rest, f"sensitive {PAYLOAD}")


def _unfit(shape: Any, path: str, what: str) -> list[str]:
    try:
        resolved(shape, path)
    except Unfit as unfit:
        return [f"{what}: {unfit}"]
    return []


def _made(step: Step) -> Any:
    """The model of a step's payload; None where it cannot be known."""
    if isinstance(step.payload, paths.Fields):
        return step.payload.model
    if not callable(step.payload):
        return None
    function = step.payload if inspect.isroutine(step.payload) else type(step.payload).__call__
    try:
        returned = get_type_hints(function).get("return")
    except (NameError, TypeError, AttributeError):
        return None
    return returned if isinstance(returned, type) and issubclass(returned, BaseModel) else None


def _inwards(shapes: list[Any], part: str, path: str) -> tuple[frozenset[str], list[Any]]:
    """One step inwards from any of several shapes: the names to look under, and the shapes that may stand there."""
    names: set[str] = set()
    inner: list[Any] = []
    sentence = f"{path!r}: there is no {part!r} in there"
    for shape in (one for each in shapes for one in _plain(each)):
        if shape is Any or shape is dict or shape is object:
            names.add(part)
            inner.append(Any)
        elif (within := _items(shape)) is not None:
            if part == EACH:
                names.add(part)
                inner += within
            else:
                sentence = f"{path!r}: there are many things where {part!r} stands: * means all of them"
        elif isinstance(shape, type) and issubclass(shape, BaseModel) and part in shape.model_fields:
            field = shape.model_fields[part]
            names |= {part, *_aliases(field, path)}
            inner.append(field.annotation)
        elif isinstance(shape, type) and issubclass(shape, BaseModel):
            sentence = f"{path!r}: {shape.__name__} has no field {part!r}"
    if not names:
        raise Unfit(sentence)
    return frozenset(names), inner


def _plain(shape: Any) -> Iterator[Any]:
    """The shapes that a value of a type may have, without None and what only checks."""
    origin = get_origin(shape)
    if origin is Annotated:
        yield from _plain(get_args(shape)[0])
    elif origin in (Union, UnionType):
        for one in get_args(shape):
            yield from _plain(one)
    elif shape is not None and shape is not type(None):
        yield shape


def _items(shape: Any) -> list[Any] | None:
    """What stands in a list or in an object with free keys; None for anything else."""
    origin, arguments = get_origin(shape) or shape, get_args(shape)
    if not isinstance(origin, type):
        return None
    if issubclass(origin, Mapping):
        return [arguments[1]] if arguments else [Any]
    if issubclass(origin, _MANY) and not issubclass(origin, str | bytes):
        return [one for one in arguments if one is not Ellipsis] or [Any]
    return None


def _aliases(field: FieldInfo, path: str) -> list[str]:
    """The other names under which a field may come or go."""
    aliases: list[Any] = [field.alias, field.serialization_alias]
    given = field.validation_alias
    aliases += given.choices if isinstance(given, AliasChoices) else [given]
    wrong = [alias for alias in aliases if alias is not None and not isinstance(alias, str)]
    if wrong:
        raise Unfit(f"{path!r}: a field that comes from somewhere else (AliasPath) cannot be masked")
    return [alias for alias in aliases if alias is not None]
