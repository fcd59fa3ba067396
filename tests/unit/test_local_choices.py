"""Which server a local stack takes: the order, what is said, and what a forced choice does."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import pytest

from deploy.local.choice import LocalStackError, NotAsked, Option, Unavailable, first_that_works
from deploy.local.kafka_jvm import new_cluster_id


@dataclass(frozen=True)
class Started:
    """A server that runs, as far as choosing is concerned."""

    description: str


def works(name: str) -> Option[Started]:
    """Give an option that starts at once."""
    return Option(name, lambda: Started(f"{name} at 127.0.0.1"), f"install {name}")


def fails(name: str, reason: Unavailable) -> Option[Started]:
    """Give an option that is not possible."""

    def start() -> Started:
        raise reason

    return Option(name, start, f"install {name}")


def choose(options: list[Option[Started]], forced: str | None = None) -> tuple[Started, list[str]]:
    """Choose, and return the server with the lines that were said."""
    said: list[str] = []
    server = first_that_works("kafka", options, variable="BROKER", forced=forced, say=said.append)
    return server, said


def test_the_first_option_that_starts_is_taken() -> None:
    """A later option is not even tried once an earlier one runs."""
    server, said = choose([works("jvm"), fails("docker", Unavailable("must not be asked"))])
    assert server.description == "jvm at 127.0.0.1"
    assert said == ["kafka: jvm, jvm at 127.0.0.1 (the first of jvm, docker that works)"]


def test_an_engine_without_the_image_leads_to_the_next_option() -> None:
    """A Docker engine that answers but cannot get the image is passed over with one line that says so."""
    broken = fails("docker", Unavailable("an engine answers, but apache/kafka:4.1.0 cannot be started: no route"))
    server, said = choose([broken, works("memory")])
    assert server.description == "memory at 127.0.0.1"
    assert said[0] == ("kafka: not docker (an engine answers, but apache/kafka:4.1.0 cannot be started: no route)")
    assert len(said) == 2


def test_what_nobody_asked_for_is_passed_over_in_silence() -> None:
    """An external server without its variable is no news to the reader."""
    _, said = choose([fails("external", NotAsked("SAGA_KAFKA__BOOTSTRAP_SERVERS is not set")), works("jvm")])
    assert len(said) == 1
    assert said[0].startswith("kafka: jvm, ")


def test_a_forced_choice_skips_the_order() -> None:
    """BROKER=memory takes memory although an earlier option would work, and says why."""
    server, said = choose([works("jvm"), works("memory")], forced="memory")
    assert server.description == "memory at 127.0.0.1"
    assert said == ["kafka: memory, memory at 127.0.0.1 (BROKER=memory asks for it)"]


def test_a_forced_choice_that_fails_does_not_fall_through() -> None:
    """The error names the reason and what helps; nothing else is started."""
    options = [works("jvm"), fails("docker", Unavailable("no Docker engine answers"))]
    with pytest.raises(LocalStackError, match=r"BROKER=docker.*no Docker engine answers.*install docker"):
        choose(options, forced="docker")


def test_a_forced_choice_nobody_knows_names_the_known_ones() -> None:
    """A misspelt BROKER is an error with the list of words that are understood."""
    with pytest.raises(LocalStackError, match=r"BROKER=kraft is not known; use one of jvm, memory"):
        choose([works("jvm"), works("memory")], forced="kraft")


def test_when_nothing_works_every_reason_and_remedy_is_told() -> None:
    """The reader of the last error needs no second run to learn what is missing."""
    options = [fails("jvm", Unavailable("no java on the PATH")), fails("docker", Unavailable("no engine"))]
    with pytest.raises(LocalStackError) as caught:
        choose(options)
    for part in ("no java on the PATH", "no engine", "install jvm", "install docker"):
        assert part in str(caught.value)


def test_another_error_is_not_taken_for_an_impossible_option() -> None:
    """A mistake in the starter itself is seen, not hidden behind the next option."""

    def start() -> Started:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        choose([Option("jvm", start, ""), works("memory")])


def test_a_cluster_id_is_never_taken_for_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kafka's tools read an id with a leading "-" as an option, and one random id in 64 has one."""
    chosen = iter([uuid.UUID(bytes=b"\xfb" * 16), uuid.UUID(int=0)])
    monkeypatch.setattr(uuid, "uuid4", lambda: next(chosen))
    assert new_cluster_id() == "AAAAAAAAAAAAAAAAAAAAAA"
