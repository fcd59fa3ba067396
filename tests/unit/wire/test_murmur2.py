"""Partitions: the same as Kafka's Java client chooses, for every key."""

from __future__ import annotations

from aiokafka.partitioner import murmur2 as aiokafka_murmur2
from hypothesis import given
from hypothesis import strategies as st

from coordinator.wire.murmur2 import murmur2, partition_of


def test_the_java_clients_own_test_vectors_hold() -> None:
    """The vectors of Kafka's UtilsTest (signed there) give the same hashes here."""
    vectors = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536}
    vectors |= {b"a-little-bit-longer-string": -1486304829, b"abc": 479470107}
    vectors |= {b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971}
    assert {key: murmur2(key) for key in vectors} == {key: value % 2**32 for key, value in vectors.items()}


@given(st.binary(max_size=70), st.integers(1, 100))
def test_aiokafka_puts_every_key_on_the_same_partition(key: bytes, partitions: int) -> None:
    """Whichever client writes, a key has one partition."""
    assert partition_of(key, partitions) == (aiokafka_murmur2(key) & 0x7FFFFFFF) % partitions
