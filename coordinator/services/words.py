"""What people say for the record: who they are, and why they act."""

from __future__ import annotations


def says_something(text: str) -> bool:
    """Whether a word or a sentence is printable and not only blank."""
    return bool(text.strip()) and text.isprintable()
