"""What kills a process for a test is nowhere near a process that nobody wants to die."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SHIPPED = ("coordinator", "participants", "sagas")


def test_the_wheel_has_no_tests() -> None:
    """What is built and installed are the three packages of production, by name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["hatch"]["build"]["targets"] == {"wheel": {"packages": list(SHIPPED)}}
    assert project["project"]["scripts"] == {"saga": "coordinator.command:main"}


@pytest.mark.parametrize("package", SHIPPED)
def test_production_knows_nothing_of_the_hook(package: str) -> None:
    """No file of production imports a test or reads the hook's variables, and none of the hook's lies among them."""
    files = [file for file in (ROOT / package).rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    assert files
    for file in files:
        text = file.read_bytes()
        assert b"SAGA_CRASH" not in text, file
        assert b"import tests" not in text, file
        assert b"from tests" not in text, file
    assert not [file for file in files if file.suffix == ".pth"]
