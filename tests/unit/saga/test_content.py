"""The content of a definition: equal in every process, and different whenever anything of it is."""

from __future__ import annotations

import copy
import dataclasses
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from coordinator.errors import DefinitionError
from coordinator.saga.content import content_of
from coordinator.saga.definition import BESIDE, SagaDefinition
from sagas.order_fulfillment import order_fulfillment
from tests.unit.saga import contents

ROOT = Path(__file__).parents[3]
_numbers = count()

BASE = """
from functools import partial
LIMIT = 10
def helper(order):
    return order.amount > LIMIT
def when(order, results, least=1):
    return helper(order) and order.items > least
"""
SAME = {
    "a comment": BASE.replace("LIMIT = 10", "LIMIT = 10  # euros"),
    "a docstring": BASE.replace("    return helper", '    """Decide."""\n    return helper'),
    "the layout": BASE.replace(
        "helper(order) and order.items > least", "(helper(order)\n        and order.items > least)"
    ),
    "a function that is not called": BASE + "\ndef other():\n    return 1\n",
}
OTHER = {
    "the code": BASE.replace("items > least", "items >= least"),
    "a constant": BASE.replace("LIMIT = 10", "LIMIT = 11"),
    "a helper": BASE.replace("order.amount > LIMIT", "order.amount >= LIMIT"),
    "a default": BASE.replace("least=1", "least=2"),
    "a partial": BASE + "\nwhen = partial(when, least=3)\n",
    "a lambda": BASE + "\nwhen = lambda order, results: helper(order)\n",
}


def loaded(folder: Path, source: str) -> Any:
    """Import a module's text under the name `plan`."""
    file = folder / f"plan{next(_numbers)}.py"
    file.write_text(source)
    spec = importlib.util.spec_from_file_location("plan", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def digest(when: Any) -> bytes:
    return content_of(contents.definition(when)).digest


def parts(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Find every field of every dataclass in a definition that says what a saga does, as the path to it."""
    if isinstance(value, tuple):
        for position, part in enumerate(value):
            yield from parts(part, (*path, position))
    if dataclasses.is_dataclass(value):
        for field in (field for field in dataclasses.fields(value) if field.metadata != BESIDE):
            yield (*path, field.name)
            yield from parts(getattr(value, field.name), (*path, field.name))


def altered(value: Any, path: tuple[Any, ...]) -> Any:
    """Copy a definition with another value at a path, whether or not that value makes sense."""
    if not path:
        return "something else"
    key, *rest = path
    if isinstance(value, tuple):
        return (*value[:key], altered(value[key], tuple(rest)), *value[key + 1 :])
    changed = copy.copy(value)
    object.__setattr__(changed, key, altered(getattr(value, key), tuple(rest)))
    return changed


PATHS = list(parts(contents.definition(contents.is_abroad)))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: ".".join(map(str, path)))
def test_every_field_counts(path: tuple[Any, ...]) -> None:
    """Another value in any field of a definition, a step or a budget is another content, also in fields to come."""
    definition = contents.definition(contents.is_abroad)
    assert content_of(altered(definition, path)).digest != content_of(definition).digest


def test_all_fields_are_tried() -> None:
    """The search for fields finds those of the definition, of its steps and of their budgets."""
    assert {("business_key",), ("steps", 0, "timeout"), ("steps", 0, "retry", "cap"), ("steps", 0, "when")} <= set(
        PATHS
    )


def test_a_field_that_says_nothing_is_no_change() -> None:
    """A new field with an empty default leaves the content of definitions that do not use it as it was."""
    step = contents.definition().steps[0]
    plain = dataclasses.replace(order_fulfillment, steps=(_plain_step(step),))
    rich = dataclasses.replace(order_fulfillment, steps=(step,))
    assert content_of(rich).digest == content_of(plain).digest


def _plain_step(step: Any) -> Any:
    base = type(step).__mro__[1]
    return base(**{field.name: getattr(step, field.name) for field in dataclasses.fields(base)})


@pytest.mark.parametrize("seed", ["0", "1", "4711"])
def test_every_process_finds_the_same_content(seed: str) -> None:
    """Processes with other hash seeds write the same digests, whatever functions and sets a definition holds."""
    done = subprocess.run(
        [sys.executable, "-c", "from tests.unit.saga.contents import main; main()"],
        env={**os.environ, "PYTHONHASHSEED": seed},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [content_of(each).digest.hex() for each in contents.definitions]


def test_kinds_of_functions_differ() -> None:
    """No two of the functions that the tests know have the same digest."""
    assert len({digest(function) for function in contents.FUNCTIONS.values()}) == len(contents.FUNCTIONS)


@pytest.mark.parametrize("change", SAME)
def test_what_changes_nothing_is_not_seen(tmp_path: Path, change: str) -> None:
    """Comments, docstrings, layout and what is not called leave a function's digest as it is."""
    assert digest(loaded(tmp_path, SAME[change]).when) == digest(loaded(tmp_path, BASE).when)


@pytest.mark.parametrize("change", OTHER)
def test_what_a_function_does_is_seen(tmp_path: Path, change: str) -> None:
    """The code of a function, of the helpers beside it, its defaults and the constants that it names are its digest."""
    assert digest(loaded(tmp_path, OTHER[change]).when) != digest(loaded(tmp_path, BASE).when)


def test_what_a_function_closes_over_is_seen() -> None:
    """Two functions that a factory makes with different values differ; with equal values they do not."""
    assert digest(contents.above(7)) != digest(contents.above(8))
    assert digest(contents.above(7)) == digest(contents.above(7))
    assert digest(contents.Above(7)) != digest(contents.Above(8))


def test_a_function_without_source_is_read_from_its_compiled_code() -> None:
    """Where there is no source, as in an interpreter's prompt, the compiled code tells functions apart."""
    texts = ("lambda order, _: order.amount > 1", "lambda order, _: order.amount > 2")
    first, again, other = (eval(text) for text in (texts[0], texts[0], texts[1]))  # noqa: S307
    assert digest(first) == digest(again) != digest(other)


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        ("class Input(Input):\n    '''Said differently.'''", False),
        ("class Input(Input):\n    note: str = ''", True),
        ("class Input(Input):\n    @field_validator('order_id')\n    def check(cls, value): return value", True),
        ("class Input(Input):\n    order_id: Annotated[str, AfterValidator(str.strip)]", True),
        ("class Input(Input):\n    order_id: Annotated[str, Field(max_length=9)]", True),
        ("class Input(Input):\n    order_id: Annotated[str, Field(description='Its number.')]", False),
    ],
)
def test_models_are_compared_by_what_they_take(tmp_path: Path, change: str, seen: bool) -> None:
    """The shape and the validators of a model are content; texts for people are not."""
    head = (
        "from typing import Annotated\nfrom pydantic import AfterValidator, BaseModel, Field, field_validator\n"
        "class Input(BaseModel):\n    order_id: str\n"
    )
    first = dataclasses.replace(order_fulfillment, input=loaded(tmp_path, head).Input, sensitive=())
    second = dataclasses.replace(order_fulfillment, input=loaded(tmp_path, head + change).Input, sensitive=())
    assert (content_of(first).digest != content_of(second).digest) is seen


def test_what_cannot_be_compared_is_refused() -> None:
    """A value without a form that is equal in every process is refused with a sentence, not written as its address."""
    definition = contents.definition()
    object.__setattr__(definition, "business_key", object())
    with pytest.raises(DefinitionError, match=r"Packing version 1: .* builtins.object cannot be compared"):
        content_of(definition)


def test_a_content_says_whose_it_is() -> None:
    """A content carries its definition's name and version."""
    content = content_of(SagaDefinition("Two", 2, order_fulfillment.input, "order_id", order_fulfillment.steps))
    assert (content.name, content.version) == ("Two", 2)
