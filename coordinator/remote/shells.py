"""What a shell needs to complete words: `completion bash|zsh|fish`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer
from typer.completion import shell_complete

app = typer.Typer()

Shell = Literal["bash", "zsh", "fish"]
PROGRAM = "saga"
VARIABLE = "_SAGA_COMPLETE"


@app.command("completion")
def completion(
    ctx: typer.Context, shell: Annotated[Shell, typer.Argument(help="which shell", show_default=False)]
) -> None:
    """Print what makes a shell complete words: eval "$(saga completion bash)"."""
    shell_complete(ctx.find_root().command, {}, PROGRAM, VARIABLE, f"source_{shell}")
