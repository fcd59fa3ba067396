"""Requests to start a saga, as the engine reads them from the reply topic."""

from __future__ import annotations

import json
from dataclasses import replace

from aiokafka import ConsumerRecord

from coordinator.engine.reading import BadArrival, StartArrival, read
from coordinator.engine.registry import Registry
from sagas.order_fulfillment import order_fulfillment as first
from tests.e2e.orders import order
from tests.e2e.world import event_headers

NAME = first.name
second = replace(first, version=2)


def request(version: int | None) -> ConsumerRecord:
    value = {"definition": NAME, "input": order(), **({} if version is None else {"version": version})}
    headers = event_headers("SagaStartRequested", "a-shop")
    return ConsumerRecord("replies", 0, 7, 0, 0, None, json.dumps(value).encode(), None, 0, 0, tuple(headers))


def test_a_request_for_a_version_that_is_held_back_is_kept() -> None:
    """A start on a version that not every replica knows becomes a letter with the reason, to be sent again later."""
    registry = Registry((first, second))
    registry.learn({}, {(NAME, 2): "one live replica does not know it yet"})
    [named, unnamed] = read([(0, [request(2), request(None)])], registry, {})
    assert isinstance(named, BadArrival)
    assert named.reason == "version_not_ready"
    assert named.detail.endswith("one live replica does not know it yet")
    assert isinstance(unnamed, StartArrival)
    assert unnamed.definition is first
