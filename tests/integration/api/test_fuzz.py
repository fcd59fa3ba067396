"""The running API is what its document says, whatever is asked of it: schemathesis asks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.stack import LocalStack
from tests.integration.api.guarded import Guarded, open_guarded
from tests.integration.api.server import order

HOOKS = Path(__file__).parent / "fuzz_hooks.py"
CONFIG = Path(__file__).parent / "schemathesis.toml"
SEED = 20_261_126
EXAMPLES = 4
STREAMS = ("streamEvents", "streamSagaEvents")
"""Their answers do not end, so nothing can wait for them; tests of streams listen to them."""


@pytest.fixture
def guarded(stack: LocalStack) -> Iterator[Guarded]:
    """Give an API that asks everybody for a token, keeps nobody waiting, and has something to show."""
    limits = {
        "SAGA_API__RATE_PER_SECOND": "0",
        "SAGA_API__FAILURES_PER_SECOND": "100000",
        "SAGA_API__FAILURES_BURST": "1000000",
    }
    with open_guarded(stack, **limits) as running:
        running.post("/v1/sagas/bulk", {"sagas": [order(f"fuzz-{number}") for number in range(3)]})
        yield running


@pytest.mark.timeout(420)
def test_every_route_keeps_to_the_document(guarded: Guarded, tmp_path: Path) -> None:
    """Made-up requests, good ones and bad ones, one by one and along the links, find no answer that is not described.

    All checks of schemathesis are on; tests/integration/api/schemathesis.toml says what they are told of this API.
    """
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG)),
        *("run", f"{guarded.api.url}/v1/openapi.json", "--checks", "all"),
        *("--phases", "examples,coverage,fuzzing,stateful"),
        *("--max-examples", str(EXAMPLES), "--seed", str(SEED), "--request-timeout", "20"),
        *("-H", f"Authorization: Bearer {guarded.tokens['admin']}"),
        *(word for name in STREAMS for word in ("--exclude-operation-id", name)),
    ]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": str(HOOKS)}
    # What it keeps between runs goes to where it runs: each run is by itself.
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=400
    )
    assert done.returncode == 0, done.stdout[-30_000:] + done.stderr[-5_000:]
    broken = [line for line in guarded.api.child.output().splitlines() if "request_failed" in line]
    assert not broken, broken[:5]
