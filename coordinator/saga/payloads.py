"""What a command carries and whether a step is wanted: worked out from the saga's input and the results so far.

Both are pure and are asked once, when the step is issued; what they answered is kept in the step's state, so that every
attempt, and the compensation, carries the same. What cannot be worked out is a problem with a sentence, before any
command exists.

Nothing is worked out a second time: a model's own validator may say another thing tomorrow.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec
from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from coordinator.saga import paths

if TYPE_CHECKING:
    from coordinator.saga.definition import SagaDefinition, Step
    from coordinator.saga.model import StepState

PAYLOAD_BYTES_MAX = 64 * 1024  # as large as an input may be: a compensation carries it beside the result

INPUTS_KEPT = 4096  # a saga asks for its input again a few steps later; about 2 KB each

_OBJECT = msgspec.json.Decoder(dict[str, Any])


class LacksField(Exception):
    """The input or a result lacks what a step needs; the text names it."""


class Broken(Exception):
    """A function of the definition failed; the text says how."""


class Results(Mapping[str, Any]):
    """The results of the steps that are done: as their models, or as plain objects where a step declares none."""

    def __init__(self, definition: SagaDefinition, steps: tuple[StepState, ...]) -> None:
        self._definition = definition
        self._steps = steps
        self._read: dict[str, Any] = {}

    def __getitem__(self, step_name: str) -> Any:
        """The result of a step; raises LacksField when it has none."""
        if step_name not in self._read:
            position = self._definition.index.get(step_name)
            raw = msgspec.UNSET if position is None else self._steps[position].result
            if position is None or isinstance(raw, msgspec.UnsetType):
                raise LacksField(f"{step_name}: this step has no result")
            self._read[step_name] = _read(self._definition.steps[position].result, bytes(raw), step_name)
        return self._read[step_name]

    def __contains__(self, step_name: object) -> bool:
        """Whether a step has a result."""
        return step_name in iter(self)

    def __iter__(self) -> Any:
        """The names of the steps that have results, in order."""
        for step, state in zip(self._definition.steps, self._steps, strict=True):
            if not isinstance(state.result, msgspec.UnsetType):
                yield step.name

    def __len__(self) -> int:
        """How many steps have results."""
        return sum(1 for _ in self)


class Material:
    """What payloads and conditions of one moment of a saga are made of; read once, and only when somebody asks."""

    def __init__(self, definition: SagaDefinition, input_: bytes, steps: tuple[StepState, ...]) -> None:
        self._model = definition.input
        self._raw = input_
        self.results = Results(definition, steps)

    @property
    def input(self) -> Any:
        """The saga's input as its model."""
        return _read_input(self._model, self._raw)


def wants(step: Step, material: Material) -> bool:
    """Ask a step's condition; raises LacksField, Broken."""
    if step.when is None:
        return True
    return bool(_call(step.when, step, "when", material))


def payload_of(step: Step, material: Material) -> bytes | None:
    """Work out what an action carries (JSON text), None where that is the saga's input; raises LacksField, Broken."""
    if step.payload is None:
        return None
    if step.paths is None:
        raw = _written(_call(step.payload, step, "payload", material), step)
    else:
        raw = to_json(_follow(step.paths, material), by_alias=False)  # parts of what strict readers have let in
    if len(raw) > PAYLOAD_BYTES_MAX:
        raise Broken(f"payload of {step.name}: {len(raw)} bytes as JSON; the limit is {PAYLOAD_BYTES_MAX}")
    return raw


def _written(made: Any, step: Step) -> bytes:
    try:
        raw = to_json(made, by_alias=False, inf_nan_mode="constants")  # models may stand at any depth
        plain = _OBJECT.decode(raw)  # NaN is written, but it is no JSON and cannot be read
    except msgspec.ValidationError:
        raise Broken(f"payload of {step.name}: an object is wanted, not {type(made).__name__}") from None
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise Broken(f"payload of {step.name}: {error}") from error
    if not _is_readable(plain):
        raise Broken(f"payload of {step.name}: an integer beyond 64 bits, or a U+0000, which no strict reader takes")
    return raw


def _is_readable(plain: Any) -> bool:
    """Whether participants' strict readers take it (the wire contract's JSON)."""
    if isinstance(plain, dict):
        return all(map(_is_readable, plain)) and all(map(_is_readable, plain.values()))
    if isinstance(plain, list):
        return all(map(_is_readable, plain))
    if isinstance(plain, str):
        return "\0" not in plain
    return type(plain) is not int or -(2**63) <= plain < 2**63


def _call(function: Any, step: Step, what: str, material: Material) -> Any:
    try:
        return function(material.input, material.results)
    except LacksField:
        raise
    except ValidationError as error:
        raise LacksField(f"{what} of {step.name}: {_first(error)}") from error
    except Exception as error:  # whatever a definition's own code raises
        raise Broken(f"{what} of {step.name}: {error!r}") from error


def _follow(parts: paths.Compiled, material: Material) -> dict[str, Any]:
    made: dict[str, Any] = {}
    given: Any = None
    for name, origin, get, path in parts:
        if not origin:
            made[name] = _follow(get, material)
            continue
        if origin == paths.INPUT:
            source = given = given or material.input
        else:
            source = material.results[origin]
        try:
            made[name] = get(source)
        except AttributeError as error:
            raise LacksField(f"{path}: {error.name} is missing") from None
    return made


@lru_cache(maxsize=INPUTS_KEPT)
def _read_input(model: type[BaseModel], raw: bytes) -> Any:
    return _read(model, raw, paths.INPUT)


def _read(model: type[BaseModel] | None, raw: bytes, name: str) -> Any:
    if model is None:
        return msgspec.json.decode(raw)
    try:
        return model.__pydantic_validator__.validate_json(raw, strict=True)
    except ValidationError as error:
        raise LacksField(f"{name}/{_first(error)}") from error


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'/'.join(map(str, first['loc']))}: {first['msg']}"
