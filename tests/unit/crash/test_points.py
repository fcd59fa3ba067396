"""The table of points is whole, and nobody can name what is not in it."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.crash.points import COLLAPSED, PATHS, POINTS, Armed, NoSuchPoint, points_of, read_armed
from tests.crash.runs import COMPENSATING, HAPPY, Run, runs_of
from tests.crash.scenes import SCENES

FOLDER = Path(__file__).parents[2] / "crash"
PROGRAMS = ("engine_points.py", "api_points.py", "migration_points.py", "participant.py")

# The steps of each path as a reader of the design would number them.
STEPS = {"R": range(13), "O": range(6), "T": range(6), "A": range(7), "B": range(1, 6), "Q": range(4), "P": range(1, 8)}


@pytest.mark.parametrize("step", [f"{path}{number}" for path, numbers in STEPS.items() for number in numbers])
def test_every_step_has_a_point_or_points_that_stand_for_it(step: str) -> None:
    """Between any two steps of a path a process is killed, or it is said why no process can be found there."""
    assert step in POINTS or set(COLLAPSED[step]) <= set(POINTS)


def test_every_point_is_passed_by_a_program() -> None:
    """A point of the table is in one of the programs, and a program passes no other."""
    passed = Counter(
        name for file in PROGRAMS for name in re.findall(r'"([A-Z]\d+[a-z]?)"', (FOLDER / file).read_text())
    )
    assert passed.keys() == POINTS.keys()


def test_every_path_is_played() -> None:
    """Each path has a scene, but for that of migrations, which needs no sagas; and a module of tests."""
    assert {*SCENES, "M"} == set(PATHS)
    modules = "".join(file.read_text() for file in FOLDER.glob("test_*.py"))
    assert all(f'_of("{path}")' in modules for path in PATHS)


def test_a_run_is_known_by_its_point_passage_and_way() -> None:
    """Each point is run at its first and second passage, both ways; on the way back only undoing counts."""
    runs = runs_of("R")
    assert len(runs) == 4 * len(points_of("R"))
    assert str(Run("R9", 2, HAPPY)) == "R9-hit2-happy"
    assert str(Run("R9", 2, COMPENSATING).armed) == "R9:2:backward"
    assert str(Run("A4", 1, COMPENSATING).armed) == "A4:1"


@pytest.mark.parametrize("armed", [Armed("R9", 2), Armed("P5a", 1, backward=True)])
def test_what_is_armed_can_be_read_again(armed: Armed) -> None:
    """What a test writes is what a program reads."""
    assert read_armed(str(armed)) == armed


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("X1:1", "there is no point X1; there are R0, R1, "),
        ("R6:1", "R6 lies inside of one statement, where no client can die: R8 and R9 stand for it"),
        ("R9", "'R9' is no point and passage, such as R9:2 or R9:2:backward"),
        ("R9:0", "'R9:0' is no point and passage"),
        ("R9:1:forward", "'R9:1:forward' is no point and passage"),
    ],
)
def test_what_is_no_point_is_refused(text: str, sentence: str) -> None:
    """A point that does not exist is refused with a sentence that says which there are."""
    with pytest.raises(NoSuchPoint, match=re.escape(sentence)):
        read_armed(text)
