"""How the sagas of a family begin. Those with a coordinator are asked for over its API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from deploy.demo.client import Api


@dataclass(frozen=True)
class Stage:
    """Where sagas may begin: the coordinator's API, and Kafka with the prefix of our topics."""

    api: Api
    bootstrap_servers: str
    topic_prefix: str


class Start(Protocol):
    """Begins a saga of a definition for each input, together where there are several."""

    async def __call__(self, stage: Stage, definition: str, wanted: Sequence[Mapping[str, Any]], /) -> None:
        """Return when all of them are asked for."""


async def start_over_the_api(stage: Stage, definition: str, wanted: Sequence[Mapping[str, Any]]) -> None:
    """Start one saga with POST /v1/sagas, several with one POST /v1/sagas/bulk."""
    if len(wanted) == 1:
        await stage.api.start(definition, wanted[0])
    else:
        await stage.api.start_many(definition, wanted)
