"""How one way to run a server is chosen: the first that works, said in one line, or the one that was asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


class LocalStackError(Exception):
    """A local server cannot be started or steered; the message says what to do."""


class Unavailable(LocalStackError):
    """One way of running a server is not possible here; the next one may be."""


class NotAsked(Unavailable):
    """One way needs a setting that nobody gave: it is passed over without a word."""


class Server(Protocol):
    """What a started server tells about itself."""

    @property
    def description(self) -> str:
        """What runs and where, in half a sentence."""
        ...


ServerT = TypeVar("ServerT", bound=Server)
Say = Callable[[str], None]


@dataclass(frozen=True)
class Option(Generic[ServerT]):
    """One way to run a server: `start` returns it ready for use or raises Unavailable with the reason."""

    name: str
    start: Callable[[], ServerT]
    remedy: str


def first_that_works(
    what: str, options: Sequence[Option[ServerT]], *, variable: str, forced: str | None, say: Say
) -> ServerT:
    """Start the first possible option, or only the `forced` one.

    `what` is the server's name for people, `variable` the one that forces a choice.
    Raises LocalStackError if none (or not the forced one) can be started.
    """
    if forced:
        return _only(what, options, variable=variable, forced=forced, say=say)
    passed_over: list[str] = []
    for option in options:
        try:
            server = option.start()
        except Unavailable as reason:
            passed_over.append(f"{option.name}: {reason}")
            if not isinstance(reason, NotAsked):
                say(f"{what}: not {option.name} ({str(reason).splitlines()[0]})")
            continue
        say(f"{what}: {option.name}, {server.description} (the first of {_names(options)} that works)")
        return server
    ways = "; ".join(f"{option.name}: {option.remedy}" for option in options)
    raise LocalStackError(f"no {what} can be started. Tried {'; '.join(passed_over)}. What helps: {ways}")


def _only(what: str, options: Sequence[Option[ServerT]], *, variable: str, forced: str, say: Say) -> ServerT:
    option = next((each for each in options if each.name == forced), None)
    if option is None:
        raise LocalStackError(f"{variable}={forced} is not known; use one of {_names(options)}")
    try:
        server = option.start()
    except Unavailable as reason:
        raise LocalStackError(
            f"{variable}={forced} does not work here: {reason}. What helps: {option.remedy}; "
            f"or leave {variable} out to take the first that works"
        ) from reason
    say(f"{what}: {option.name}, {server.description} ({variable}={forced} asks for it)")
    return server


def _names(options: Sequence[Option[ServerT]]) -> str:
    return ", ".join(option.name for option in options)
