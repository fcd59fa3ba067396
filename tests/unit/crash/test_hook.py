"""The hand that kills does so at the wanted passage, and never otherwise."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash.hook import AT, FILE, USAGE, Hook, Mark, around
from tests.crash.points import Armed, NoSuchPoint

ROOT = Path(__file__).parents[3]
PASSES_FOUR = """
import os
from pathlib import Path
from tests.crash.hook import Hook

hook = Hook.of_environment(os.environ)
for number, backward in enumerate((False, True, False, True), 1):
    print(number, flush=True)
    if number == 3 and os.environ.get("LATE"):
        Path(os.environ["LATE"]).write_text("R9:1")
    hook.passes("R8", backward=backward)
    hook.passes("R9", backward=backward)
"""


def run(program: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python to its end."""
    command = [sys.executable, *arguments, *(["-c", program] if program else [])]
    given = {**os.environ, **environment}
    return subprocess.run(command, cwd=ROOT, env=given, capture_output=True, text=True, check=False, timeout=30)


@pytest.mark.parametrize(
    ("at", "passages"), [("R9:1", 1), ("R9:2", 2), ("R9:4", 4), ("R9:1:backward", 2), ("R9:2:backward", 4)]
)
def test_a_process_dies_at_the_wanted_passage(at: str, passages: int) -> None:
    """It is killed by SIGKILL at that passage of that point, and its last line says where."""
    done = run(PASSES_FOUR, **{AT: at})
    assert done.returncode == -signal.SIGKILL
    numbers = [str(number) for number in range(1, passages + 1)]
    assert done.stdout.splitlines() == [*numbers, f"killed at {at}"]


@pytest.mark.parametrize("at", ["R9:5", "R9:3:backward", "R10:1", ""])
def test_a_process_lives_when_the_point_is_not_passed_so_often(at: str) -> None:
    """A passage that does not come kills nobody, nor does a hook that is not armed."""
    done = run(PASSES_FOUR, **{AT: at})
    assert (done.returncode, done.stdout.split()) == (0, ["1", "2", "3", "4"])


def test_a_file_arms_a_process_that_runs(tmp_path: Path) -> None:
    """From when the file names a point its passages count, those before do not."""
    file = str(tmp_path / "crash")
    done = run(PASSES_FOUR, LATE=file, **{FILE: file})
    assert done.returncode == -signal.SIGKILL
    assert done.stdout.split("\n")[:4] == ["1", "2", "3", "killed at R9:1"]


def test_a_file_that_names_no_point_ends_the_process(tmp_path: Path) -> None:
    """A slip of the pen in the file is no run without a kill: the process ends with a sentence."""
    file = tmp_path / "crash"
    file.write_text("R99:1")
    done = run(PASSES_FOUR, **{FILE: str(file)})
    assert done.returncode == USAGE
    assert done.stderr.startswith("there is no point R99; there are R0")


def test_a_passage_of_no_point_ends_the_process() -> None:
    """A program cannot pass what is not in the table."""
    done = run("from tests.crash.hook import Hook; Hook().passes('R99')")
    assert (done.returncode, done.stderr) == (USAGE, "the program passes R99, which is no point\n")


def test_the_variables_are_not_left_to_the_program() -> None:
    """The settings of the coordinator refuse what they do not know, so the hook takes its variables away."""
    environment = {AT: "R9:2", FILE: "nowhere", "SAGA_INSTANCE": "one"}
    hook = Hook.of_environment(environment)
    assert environment == {"SAGA_INSTANCE": "one"}
    assert not hook.is_here(Mark("R9"))
    with pytest.raises(NoSuchPoint):
        Hook.of_environment({AT: "R99:1"})


def test_several_points_are_passed_at_once() -> None:
    """A batch may be more than one thing: each of its points counts."""
    hook = Hook(Armed("Q2", 2))
    assert not hook.is_here(Mark("R9"), Mark("Q2"))
    assert hook.is_here(Mark("R9"), Mark("Q2"))


def test_a_function_that_is_gone_is_missed() -> None:
    """When production code renames what is wrapped, the program does not start: no point is silently lost."""
    with pytest.raises(AttributeError):
        around(Hook, "passed", lambda passed: passed)


@pytest.mark.parametrize("module", ["tests.crash.coordinator", "tests.crash.participant"])
def test_a_program_refuses_a_point_that_does_not_exist(module: str) -> None:
    """It says so at once, and does nothing."""
    done = run("", "-m", module, "payment", **{AT: "R7:1"})
    assert done.returncode == USAGE
    assert done.stderr.startswith("R7 lies inside of one statement")


def test_the_program_is_the_production_program() -> None:
    """Everything that is wrapped is there, and the command line is that of the coordinator."""
    done = run("", "-m", "tests.crash.coordinator", "serve", "--help")
    assert done.returncode == 0, done.stderr
    assert "Run the coordinator until SIGTERM." in done.stdout
