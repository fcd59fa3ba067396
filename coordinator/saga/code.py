"""What a function says, as plain data that is equal in every process: the code of `when=` and `payload=` builders.

The source is read and its syntax tree is taken, so that neither comments, docstrings and layout nor another version
of Python change anything. Where there is no source, the compiled code is taken instead. With the function go what it
closes over, its defaults, and the functions and plain values of its own module that it names, and theirs.
Not seen: functions of other modules, methods of other objects, and what is read at run time (docs/adr/0014).
"""

from __future__ import annotations

import ast
import linecache
from collections.abc import Callable, Iterator
from functools import cache, partial
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


class Unwritable(Exception):
    """A value that has no form that is the same in every process."""


class FunctionWriter:
    """Writes callables as plain data; `plain` writes the values that they carry, and comes back here for callables."""

    def __init__(self, plain: Callable[[Any], Any]) -> None:
        self._plain = plain
        self._inside: set[int] = set()

    def write(self, function: Any) -> Any:
        """Write a callable; raises Unwritable."""
        if id(function) in self._inside:
            return {"again": name_of(function)}
        self._inside.add(id(function))
        try:
            return self._written(function)
        finally:
            self._inside.remove(id(function))

    def _written(self, function: Any) -> Any:
        if isinstance(function, FunctionType):
            return self._function(function)
        if isinstance(function, partial):
            return {
                "partial": self.write(function.func),
                "carries": [self._plain(function.args), self._plain(function.keywords)],
            }
        if isinstance(function, MethodType):
            return {"method": self.write(function.__func__), "carries": self._carried(function.__self__)}
        wrapped = getattr(function, "__wrapped__", None)  # functools.cache and the like
        if wrapped is not None:
            return {"wrapper": name_of(type(function)), "wraps": self.write(wrapped)}
        return self._other(function)

    def _function(self, function: FunctionType) -> Any:
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        return {
            "code": _code(function),
            "defaults": [self._carried(value) for value in function.__defaults__ or ()],
            "keywords": {name: self._carried(value) for name, value in (function.__kwdefaults__ or {}).items()},
            "closure": {name: self._carried(cell.cell_contents) for name, cell in cells if not _is_empty(cell)},
            "names": {name: self._carried(value) for name, value in _globals(function)},
        }

    def _carried(self, value: Any) -> Any:
        """A value that a function happens to carry: its type alone where it cannot be written."""
        try:
            return self._plain(value)
        except Unwritable:
            return {"object": name_of(type(value))}

    def _other(self, function: Any) -> Any:
        if hasattr(function, "__qualname__"):
            return {"name": name_of(function)}
        call = vars(type(function)).get("__call__")
        if isinstance(call, FunctionType):
            return {"object": self._carried(vars(function)), "call": self.write(call)}
        text = repr(function)
        if " at 0x" in text:
            raise Unwritable(f"{name_of(type(function))} cannot be compared between processes")
        return {"object": text}  # operator.itemgetter('country')


def name_of(thing: Any) -> str:
    """The full name of a class or a function."""
    module = getattr(thing, "__module__", None) or "builtins"
    return f"{module}.{getattr(thing, '__qualname__', type(thing).__qualname__)}"


def _globals(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """The globals of its own module that a function names, inner functions and lambdas included."""
    for name in sorted({name for code in _codes(function.__code__) for name in code.co_names}):
        value = function.__globals__.get(name)
        if isinstance(value, ModuleType) or name not in function.__globals__:
            continue
        if not callable(value) or getattr(value, "__module__", None) == function.__module__:
            yield name, value


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _is_empty(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - asking is what fails
    except ValueError:
        return True
    return False


# ------------------------------------------------------------ the syntax tree


def _code(function: FunctionType) -> Any:
    # Several lambdas on one line cannot be told apart in every interpreter: a change of one counts for all of them.
    found = [node for node in _functions_of(function.__code__.co_filename) if _is_at(node, function.__code__)]
    if not found:
        return {"compiled": [_compiled(code) for code in _codes(function.__code__)]}
    return [_tree(node) for node in found]


@cache
def _functions_of(filename: str) -> tuple[_Function, ...]:
    try:
        tree = ast.parse("".join(linecache.getlines(filename)))
    except SyntaxError:
        return ()
    return tuple(node for node in ast.walk(tree) if isinstance(node, _Function))


def _is_at(node: _Function, code: CodeType) -> bool:
    if isinstance(node, ast.Lambda):
        return code.co_name == "<lambda>" and node.lineno == code.co_firstlineno
    first = min(part.lineno for part in (node, *node.decorator_list))
    return code.co_name == node.name and first == code.co_firstlineno


def _tree(node: Any) -> Any:
    """A syntax tree as lists: [class, [field, value], ...], without what is empty, so that new fields are not seen."""
    if isinstance(node, list):
        return [_tree(part) for part in node]
    if not isinstance(node, ast.AST):
        return _constant(node)
    fields = [(name, value) for name, value in ast.iter_fields(node) if name not in ("ctx", "kind", "type_comment")]
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
        fields = [(name, value[1:] if name == "body" else value) for name, value in fields]
    parts = [[name, _tree(value)] for name, value in fields if value is not None and value != []]
    return [type(node).__name__, *parts]


def _compiled(code: CodeType) -> Any:
    constants = [_constant(value) for value in code.co_consts if not isinstance(value, CodeType)]
    return [code.co_code.hex(), constants, list(code.co_names), list(code.co_varnames)]


def _constant(value: Any) -> Any:
    if isinstance(value, frozenset):
        return ["frozenset", *sorted(repr(part) for part in value)]
    return value if isinstance(value, str) else [type(value).__name__, repr(value)]
