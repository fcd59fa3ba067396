"""`python -m coordinator` is the command `saga`."""

from __future__ import annotations

from coordinator.cli import main

main()
