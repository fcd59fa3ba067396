"""Each sample's module says its contract in a table, and the table is the truth."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from deploy.local.places import PROJECT

MODULES = sorted((PROJECT / "participants").glob("*/handlers.py"))


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.parent.name)
def test_contract_names_every_command_and_every_refusal(module: Path) -> None:
    """A command that is handled and a code with which one is refused stand in the docstring of the module."""
    tree = ast.parse(module.read_text())
    said = ast.get_docstring(tree) or ""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args]
    names = [
        argument.value
        for call in calls
        if isinstance(argument := call.args[0], ast.Constant) and _names_something(call.func)
    ]
    assert len(names) >= 3
    assert [name for name in names if str(name) not in said] == []


def _names_something(function: ast.expr) -> bool:
    if isinstance(function, ast.Name):
        return function.id in {"Refused", "Retry"}
    return isinstance(function, ast.Attribute) and function.attr in {"handles", "handles_many", "compensates"}
