"""A saga in several versions; each coordinator of these tests loads one of the tuples.

Version 1 is the order saga. Version 2 tells the customer nothing. `changed` is version 1 with another timeout.
"""

from __future__ import annotations

from dataclasses import replace

from coordinator.saga.definition import minutes
from tests.e2e.definitions import variant

NAME = "Versioned"

first = variant(NAME)
second = replace(first, version=2, steps=first.steps[:3])

old = (first,)
both = (first, second)
changed = (replace(first, steps=(replace(first.steps[0], timeout=minutes(7)), *first.steps[1:])),)
twice = (*old, *changed)
