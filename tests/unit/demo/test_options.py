"""What the demo takes from its environment, and what it refuses."""

from __future__ import annotations

import pytest

from deploy.demo.options import ORDERS_DEFAULT, Options, WrongOption


def test_nothing_given_means_every_story_once() -> None:
    """Without variables the demo tells all stories, sends its usual number of orders, and ends."""
    assert Options.read({}) == Options(keep=False, orders=ORDERS_DEFAULT)
    assert ORDERS_DEFAULT + 8 >= 40


def test_empty_variables_count_as_not_given() -> None:
    """`make` may hand empty variables on."""
    assert Options.read({"STORY": "", "KEEP": "", "ORDERS": " "}) == Options()


@pytest.mark.parametrize(("value", "kept"), [("1", True), ("yes", True), ("0", False), ("false", False)])
def test_keep_is_a_switch(value: str, kept: bool) -> None:
    """KEEP=1 keeps everything up, KEEP=0 does not."""
    assert Options.read({"KEEP": value}).keep is kept


@pytest.mark.parametrize("story", ["all", "order"])
def test_a_known_story_is_taken(story: str) -> None:
    """STORY names a group of stories, or all of them."""
    assert Options.read({"STORY": story, "ORDERS": "7"}).orders == 7


@pytest.mark.parametrize(
    "environment",
    [
        {"STORY": "travel"},
        {"KEEP": "maybe"},
        {"ORDERS": "0"},
        {"ORDERS": "-3"},
        {"ORDERS": "1001"},
        {"ORDERS": "\u0663"},
        {"ORDERS": "ten"},
    ],
)
def test_a_wrong_value_is_named(environment: dict[str, str]) -> None:
    """A value that means nothing is refused with the variable's name, before anything is started."""
    [(name, value)] = environment.items()
    with pytest.raises(WrongOption, match=f"{name}={value}"):
        Options.read(environment)
