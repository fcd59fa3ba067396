"""A second address at which a broker and a database serve, for a coordinator that comes another way."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from deploy.local.kafka_jvm import JvmBroker
from deploy.local.postgres_server import LocalPostgres
from deploy.local.processes import free_port

NAME = "SIDE"


def listen_beside(kafka: JvmBroker, host: str, *, port: int | None = None, advertised: int | None = None) -> int:
    """Have a broker serve at `host` and `port`, too, and start it anew; answers the port.

    Who comes there is told to come to `advertised` from then on.
    """
    port = port or free_port()
    also = {
        "listeners": f"{NAME}://{host}:{port}",
        "advertised.listeners": f"{NAME}://{host}:{advertised or port}",
        "listener.security.protocol.map": f"{NAME}:PLAINTEXT",
    }
    lines = kafka._properties.read_text().splitlines()
    for number, line in enumerate(lines):
        name = line.partition("=")[0]
        if name in also:
            lines[number] = f"{line},{also[name]}"
    kafka._properties.write_text("\n".join(lines) + "\n")
    kafka.kill()
    kafka.start()
    return port


def serve_beside(postgres: LocalPostgres, host: str) -> None:
    """Have a database server serve at `host`, too, to whoever is in its network; starts it anew."""
    postgres.execute(f"alter system set listen_addresses = '127.0.0.1, {host}'")
    with (postgres._data / "pg_hba.conf").open("a") as rules:
        rules.write(f"host all all {host}/24 scram-sha-256\n")
    postgres.stop()
    postgres.start()


def at(url: str, host: str, port: int | None = None) -> str:
    """Change where a URL leads to."""
    parts = urlsplit(url)
    credentials = parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{credentials}@{host}:{port or parts.port}"))
