"""The end of a broker's log, cut off as a machine does that loses its power before the disk has everything."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from aiokafka.record.memory_records import MemoryRecords

_BATCH_HEAD = 12


def cut_tail(logs: Path, topic: str, share: float) -> list[dict[str, str]]:
    """Cut off the last batches of each partition of a topic whose broker is dead; answers the headers of what is gone.

    `share` says which part of the newest segment's batches goes, at least one of each partition that has any.
    """
    lost: list[dict[str, str]] = []
    for partition in sorted(logs.glob(f"{topic}-[0-9]*")):
        segment = max(partition.glob("*.log"))
        log = segment.read_bytes()
        batches = list(_batches(log))
        if not batches:
            continue
        keep, _ = batches[-max(1, int(len(batches) * share))]
        lost += _headers(log[keep : batches[-1][1]])
        with segment.open("r+b") as file:
            file.truncate(keep)
    return lost


def _batches(log: bytes) -> Iterator[tuple[int, int]]:
    """Say where each batch begins and ends; the last one may not be whole."""
    at = 0
    while at + _BATCH_HEAD <= len(log):
        length = struct.unpack_from(">i", log, at + 8)[0]
        if length <= 0 or at + _BATCH_HEAD + length > len(log):
            return
        yield at, at + _BATCH_HEAD + length
        at += _BATCH_HEAD + length


def _headers(log: bytes) -> Iterator[dict[str, str]]:
    records = MemoryRecords(log)
    while records.has_next():
        batch = records.next_batch()
        if not batch.is_control_batch:
            for record in batch:
                yield {name: value.decode() for name, value in record.headers}
