"""`python -m coordinator` is the command `saga`."""

from __future__ import annotations

from coordinator.command import main

main()
