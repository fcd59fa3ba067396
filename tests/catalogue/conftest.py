"""One stage for the whole suite: what the tests look at is what one storm has left behind."""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import AsyncIterator

import pytest

from deploy.local.stack import LocalStack
from tests.catalogue.aftermath import Aftermath, storm
from tests.catalogue.population import populate
from tests.catalogue.stage import Stage
from tests.needs import need_real_kafka

SEED = "SAGA_TEST_SEED"


@pytest.fixture(scope="session")
def seed(request: pytest.FixtureRequest) -> int:
    """Give the number from which order and changes follow: SAGA_TEST_SEED, or a new one, which is printed."""
    number = int(os.environ.get(SEED) or secrets.randbits(32))
    terminal = request.config.pluginmanager.get_plugin("terminalreporter")
    capture = request.config.pluginmanager.get_plugin("capturemanager")
    assert terminal is not None
    assert capture is not None
    with capture.global_and_fixture_disabled():
        terminal.ensure_newline()
        terminal.write_line(f"seed: {number}; the same order and changes again with {SEED}={number}")
    return number


@pytest.fixture(scope="session")
async def stage(stack: LocalStack) -> AsyncIterator[Stage]:
    """Give a running coordinator with sagas in every status, all at rest."""
    need_real_kafka(stack, "raw batches, transactions")
    stage = Stage(stack)
    try:
        await stage.open()
        await populate(stage)
        yield stage
    finally:
        await stage.close()


@pytest.fixture(scope="session")
async def aftermath(stage: Stage, seed: int) -> Aftermath:
    """Give what is there after the storm, beside what was there before it."""
    return await storm(stage, random.Random(seed))
