"""The processes that the demo needs: on a local stack, a migrated database, topics, a coordinator, participants."""

from __future__ import annotations

import contextlib
import secrets
import socket
import subprocess
from collections.abc import Sequence
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from deploy.demo.stories.model import Family
from deploy.local.choice import LocalStackError, Say
from deploy.local.processes import Child, free_port, http_ok
from deploy.local.stack import LocalStack
from deploy.local.waiting import run_async

REPLIES_PARTITIONS: Final = 16
COMMANDS_PARTITIONS: Final = 8
EVENTS_PARTITIONS: Final = 8
USUAL_PORT: Final = 8080
READY_S: Final = 60.0
TAIL_LINES: Final = 20
MODULE: Final = "deploy.demo.definitions"


class Site:
    """Everything of the demo that runs for some families; `set_up` starts it, the stack's end ends it."""

    def __init__(self, stack: LocalStack, families: Sequence[Family], port: int | None = None) -> None:
        self.stack = stack
        self._families = families
        self.participants = tuple(dict.fromkeys(name for family in families for name in family.participants))
        # A server of somebody else may hold other things, or another demo: names of our own keep out of their way.
        mark = secrets.token_hex(4)
        self.topic_prefix = f"saga-demo-{mark}." if stack.kafka.kind == "external" else "saga."
        self._database = f"saga_demo_{mark}" if stack.postgres.kind == "external" else "saga_demo"
        self.port = port or free_port()
        self.metrics_port = free_port()
        self._children: list[Child] = []

    @property
    def api_url(self) -> str:
        """Where the coordinator's REST API listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def metrics_url(self) -> str:
        """Where the coordinator tells how it is."""
        return f"http://127.0.0.1:{self.metrics_port}"

    @property
    def database_url(self) -> str:
        """The database of the coordinator and of all participants, for its owner."""
        return self.stack.postgres.url(self._database)

    @property
    def replies(self) -> str:
        """The topic of all that goes to the coordinator."""
        return f"{self.topic_prefix}replies"

    @property
    def topics(self) -> dict[str, int]:
        """The topics' names and partition counts."""
        commands = {f"{self.topic_prefix}{name}.commands": COMMANDS_PARTITIONS for name in self.participants}
        events = ("events", *(name for family in self._families for name in family.topics))
        others = {f"{self.topic_prefix}{name}": EVENTS_PARTITIONS for name in events}
        return {self.replies: REPLIES_PARTITIONS, f"{self.topic_prefix}dlq": 1, **others, **commands}

    @property
    def environment(self) -> dict[str, str]:
        """The settings of the coordinator's processes, as environment variables."""
        # One family or all of them: so the definitions are those of the one, or all.
        definitions = self._families[0].name if len(self._families) == 1 else "definitions"
        return {
            **self.stack.coordinator_environment(self.database_url),
            "SAGA_TOPIC_PREFIX": self.topic_prefix,
            "SAGA_DEFINITIONS": f"{MODULE}:{definitions}",
            "SAGA_KAFKA__GROUP_ID": f"{self.topic_prefix}coordinator",
            "SAGA_KAFKA__REPLIES_PARTITIONS": str(REPLIES_PARTITIONS),
            "SAGA_KAFKA__COMMANDS_PARTITIONS": str(COMMANDS_PARTITIONS),
            "SAGA_KAFKA__EVENTS_PARTITIONS": str(EVENTS_PARTITIONS),
            "SAGA_KAFKA__DEAD_LETTER_PARTITIONS": "1",
            "SAGA_API__HOST": "127.0.0.1",
            "SAGA_API__PORT": str(self.port),
            "SAGA_METRICS__PORT": str(self.metrics_port),
            **{name: value for family in self._families for name, value in family.settings.items()},
        }

    def set_up(self, say: Say) -> None:
        """Start everything in order and wait until it is ready; raises LocalStackError with the log that says why."""
        self.stack.create_database(self._database)
        say(f"database: {self._database}, for the coordinator's tables and a schema per participant")
        if not self.stack.kafka.durable:
            self.stack.create_topics(self.topics)  # the broker in memory takes no requests for topics
        migrate, topics = (self._start(verb, "-m", "coordinator", verb) for verb in ("migrate", "topics"))
        # Participants wait for their topics by themselves, so they can use the time.
        for name in self.participants:
            self.start_participant(name)
        say(f"starting a process for each of {', '.join(self.participants)}")
        _finish(migrate)
        say("the coordinator's tables are there")
        _finish(topics)
        say(f"topics: {len(self.topics)}, {sum(self.topics.values())} partitions")
        coordinator = self._start("coordinator", "-m", "coordinator", "serve", "--role", "all")
        self._children.append(coordinator)
        for child in self._children[:-1]:
            wait_until_ready(child)
            say(f"{child.name}: ready")
        coordinator.wait_until(http_ok(f"{self.api_url}/readyz"), timeout_s=READY_S, what="ready")
        say(f"coordinator: {self.api_url}")

    def start_participant(self, name: str) -> Child:
        """Start a participant's process, which has to live from now on; `wait_until_ready` waits for it."""
        # It has tables of its own in this database, and makes them itself.
        child = self._start(name, "-m", f"participants.{name}", SAGA_DATABASE__URL=self.database_url)
        self._children.append(child)
        return child

    def stop_participant(self, name: str) -> None:
        """End a participant's process, which nobody misses from now on."""
        [child] = [child for child in self._children if child.name == name]
        self._children.remove(child)
        child.stop()

    def check_alive(self) -> None:
        """Raise LocalStackError when a process has ended by itself."""
        for child in self._children:
            if child.exit_code is not None:
                raise LocalStackError(f"{child.name} ended with {child.exit_code}{_tail(child)}")

    def tear_down(self) -> None:
        """End the processes, and remove what is ours from servers that go on without us."""
        for child in reversed(self._children):
            child.stop()
        if self.stack.kafka.kind == "external":
            with contextlib.suppress(KafkaError, OSError):
                run_async(_delete_topics(self.stack.kafka.bootstrap_servers, list(self.topics)))
        if self.stack.postgres.kind == "external":
            self.stack.postgres.drop_database(self._database)

    def _start(self, name: str, *arguments: str, **settings: str) -> Child:
        return self.stack.processes.python(name, *arguments, environment={**self.environment, **settings})


def wait_until_ready(child: Child) -> None:
    """Wait until a participant's process has its tables and its part of the topics; raises LocalStackError."""
    child.wait_for_line(r"(?m)^ready$", timeout_s=READY_S)


def usual_port() -> int | None:
    """The port that the coordinator has by default, and the README's lines use; None when somebody has it."""
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", USUAL_PORT))
        return USUAL_PORT
    return None


def _finish(child: Child) -> None:
    try:
        code = child.wait(READY_S)
    except subprocess.TimeoutExpired:
        raise LocalStackError(f"{child.name} took longer than {READY_S:g} s{_tail(child)}") from None
    if code:
        raise LocalStackError(f"{child.name} ended with {code}{_tail(child)}")


def _tail(child: Child) -> str:
    return "\n  | ".join([f"; the end of {child.log}:", *child.output().splitlines()[-TAIL_LINES:]])


async def _delete_topics(bootstrap_servers: str, names: list[str]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        await admin.delete_topics(names)
    finally:
        await admin.close()
