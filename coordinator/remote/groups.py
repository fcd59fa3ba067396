"""A group of commands whose first word may be left out: `saga incidents` is `saga incidents list`."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

_HELP = ("--help",)


class Listing(TyperGroup):
    """Takes options without a command, or nothing at all, for `list`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the word in where it was left out; a shell that completes wants to see what could stand there."""
        left_out = not args or (args[0].startswith("-") and args[0] not in _HELP)
        if left_out and not ctx.resilient_parsing:
            args = ["list", *args]
        return super().parse_args(ctx, args)
