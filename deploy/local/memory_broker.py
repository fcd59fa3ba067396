"""A Kafka protocol server in memory: librdkafka's own, held by this process until it is ended.

Run as `python -m deploy.local.memory_broker [--topic NAME:PARTITIONS]...`; it prints one JSON line with
`bootstrap_servers` and `control`, a loopback port that takes one JSON command per line:
{"topic": NAME, "partitions": N}, {"broker": "down"} or {"broker": "up"}.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import socketserver
from typing import Any

from confluent_kafka import cimpl

PRODUCER = 0
BROKER_ID = 1
ERROR_SIZE = 512


class MemoryCluster:
    """One broker of librdkafka's mock cluster; everything in it ends with the process."""

    def __init__(self) -> None:
        # The extension module carries, or is linked to, the librdkafka whose C functions are needed here.
        library = ctypes.CDLL(cimpl.__file__)
        library.rd_kafka_conf_new.restype = ctypes.c_void_p
        library.rd_kafka_new.restype = ctypes.c_void_p
        library.rd_kafka_new.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
        library.rd_kafka_mock_cluster_new.restype = ctypes.c_void_p
        library.rd_kafka_mock_cluster_new.argtypes = [ctypes.c_void_p, ctypes.c_int]
        library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
        library.rd_kafka_mock_cluster_bootstraps.argtypes = [ctypes.c_void_p]
        library.rd_kafka_mock_topic_create.argtypes = [
            *(ctypes.c_void_p, ctypes.c_char_p),
            *(ctypes.c_int, ctypes.c_int),
        ]
        library.rd_kafka_mock_broker_set_down.argtypes = [ctypes.c_void_p, ctypes.c_int32]
        library.rd_kafka_mock_broker_set_up.argtypes = [ctypes.c_void_p, ctypes.c_int32]
        error = ctypes.create_string_buffer(ERROR_SIZE)
        client = library.rd_kafka_new(PRODUCER, library.rd_kafka_conf_new(), error, ERROR_SIZE)
        if not client:
            raise RuntimeError(error.value.decode())
        self._library = library
        self._cluster = library.rd_kafka_mock_cluster_new(client, 1)

    @property
    def bootstrap_servers(self) -> str:
        """host:port of the broker."""
        address: bytes = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster)
        return address.decode()

    def create_topic(self, name: str, partitions: int) -> int:
        """Create a topic and return librdkafka's error code, 0 if all is well."""
        code: int = self._library.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1)
        return code

    def set_state(self, state: str) -> int:
        """Cut all connections and refuse new ones ("down"), or serve again ("up"); records stay."""
        change = {
            "down": self._library.rd_kafka_mock_broker_set_down,
            "up": self._library.rd_kafka_mock_broker_set_up,
        }[state]
        code: int = change(self._cluster, BROKER_ID)
        return code

    def obey(self, command: dict[str, Any]) -> int:
        """Carry out one command of the control port and return its error code."""
        if "topic" in command:
            return self.create_topic(command["topic"], command["partitions"])
        return self.set_state(command["broker"])


def main() -> None:
    """Serve until the process is ended."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--topic", action="append", default=[], metavar="NAME:PARTITIONS")
    cluster = MemoryCluster()
    for topic in arguments.parse_args().topic:
        name, _, partitions = topic.rpartition(":")
        cluster.create_topic(name, int(partitions))

    class Control(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            for line in self.rfile:
                self.wfile.write(b"%d\n" % cluster.obey(json.loads(line)))

    with socketserver.TCPServer(("127.0.0.1", 0), Control) as server:
        port = server.server_address[1]
        print(json.dumps({"bootstrap_servers": cluster.bootstrap_servers, "control": port}), flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
