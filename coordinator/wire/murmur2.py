"""Kafka's default partitioner, so that every client of ours puts a saga on the same partition."""

from __future__ import annotations

import struct
from functools import lru_cache

_SEED = 0x9747B28C
_M = 0x5BD1E995
_WORD = 0xFFFFFFFF


def partition_of(key: bytes, partitions: int) -> int:
    """The partition, 0 to `partitions` - 1, where the Java client's default partitioner puts `key`."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


@lru_cache(maxsize=32_768)
def murmur2(key: bytes) -> int:
    """Kafka's 32-bit murmur2 of `key`, unsigned; remembered for the keys in use, since it costs 2 us."""
    length = len(key)
    words = length >> 2
    h = _SEED ^ length
    for word in struct.unpack_from(f"<{words}I", key):
        k = word * _M & _WORD
        h = (h * _M ^ (k ^ k >> 24) * _M) & _WORD
    tail = key[words << 2 :]
    if tail:
        h = (h ^ int.from_bytes(tail, "little")) * _M & _WORD
    h = (h ^ h >> 13) * _M & _WORD
    return h ^ h >> 15
