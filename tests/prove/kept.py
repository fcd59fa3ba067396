"""Inputs worth keeping: one of each verdict that was ever reached, as lines of JSON that a person can read."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import msgspec

CORPUS = Path(__file__).parent / "corpus" / "inputs.jsonl"
LONGEST = 800  # a longer value is not kept: the corpus is read by people, and lies in git


class Input(msgspec.Struct, frozen=True):
    """A record as a topic delivers it; a header may be null there, though its type does not say so."""

    headers: tuple[tuple[str, Any], ...]
    key: bytes | None
    value: bytes | None

    def text(self) -> str:
        """The input as one line of JSON, in which a byte is a character below 256."""
        headers = [[name, _text(value)] for name, value in self.headers]
        return msgspec.json.encode({"headers": headers, "key": _text(self.key), "value": _text(self.value)}).decode()

    @classmethod
    def read(cls, line: str) -> Input:
        """Read what `text` wrote."""
        told = msgspec.json.decode(line)
        headers = tuple((name, _bytes(value)) for name, value in told["headers"])
        return cls(headers, _bytes(told["key"]), _bytes(told["value"]))


class Corpus:
    """The inputs of one file, and those that were found since."""

    def __init__(self, file: Path) -> None:
        self._file = file
        lines = file.read_text(encoding="utf-8").split("\n") if file.exists() else []
        self._inputs = [Input.read(line) for line in lines if line]
        self._reached: set[str] = set()

    def __len__(self) -> int:
        return len(self._inputs)

    def inputs(self) -> list[Input]:
        """All inputs."""
        return list(self._inputs)

    def learn(self, one: Input, verdicts: Collection[str]) -> bool:
        """Take an input in that reaches a verdict for the first time, unless it is long; says whether it did."""
        new = set(verdicts) - self._reached
        self._reached |= new
        if not new or one in self._inputs or len(one.value or b"") > LONGEST:
            return False
        self._inputs.append(one)
        return True

    def keep(self) -> None:
        """Write all inputs to the file, in an order that does not depend on when they were found."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        lines = sorted({one.text() for one in self._inputs})
        self._file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode("latin-1")
