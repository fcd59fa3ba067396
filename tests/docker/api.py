"""What both tests of this tier ask of a running coordinator."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import httpx

T = TypeVar("T")

POLL_S = 0.1
ENDS = frozenset({"completed", "failed", "suspended", "abandoned"})


def start(api: httpx.Client, order: dict[str, Any]) -> str:
    """Start an order's saga and return its id."""
    answer = api.post("/v1/sagas", json={"definition": "OrderFulfillment", "input": order})
    assert answer.status_code == 201, answer.text
    saga_id: str = answer.json()["id"]
    return saga_id


def end_of(api: httpx.Client, saga_id: str, timeout_s: float = 90) -> dict[str, Any]:
    """Wait until a saga has ended or is parked, and return it."""

    def ended() -> dict[str, Any] | None:
        saga: dict[str, Any] = api.get(f"/v1/sagas/{saga_id}").raise_for_status().json()
        return saga if saga["status"] in ENDS else None

    return wait_for(ended, timeout_s, f"saga {saga_id} to end")


def wait_for(ask: Callable[[], T | None], timeout_s: float, what: str) -> T:
    """Ask until the answer is something, and return it; fails with `what` was waited for."""
    deadline = time.monotonic() + timeout_s
    while not (found := ask()):
        assert time.monotonic() < deadline, f"waited {timeout_s:g} s for {what}"
        time.sleep(POLL_S)
    return found
