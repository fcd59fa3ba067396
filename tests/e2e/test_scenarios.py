"""The scenarios of the pure machine, played on a real coordinator with real Kafka and Postgres."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from coordinator.engine.registry import Registry
from coordinator.engine.topology import Topology
from coordinator.kafka import Publisher
from coordinator.saga.effects import Verdict
from deploy.local.stack import LocalStack
from tests.e2e.scenario_plans import FOLDER, Plan, definitions, plans
from tests.e2e.scenario_stage import Performance, Stage
from tests.e2e.world import PARTITIONS, World
from tests.integration.api.office import Office
from tests.needs import need_real_kafka

AT_LEAST = 110
AT_A_TIME = 30
NAMES = sorted(path.stem for path in FOLDER.glob("*.saga"))
pytestmark = pytest.mark.timeout(300)  # the first test waits for all that are played
Outcomes = dict[str, BaseException | None]


@pytest.fixture(scope="module")
async def world(stack: LocalStack) -> AsyncIterator[World]:
    """Give topics and a database without participants: the test speaks for them."""
    need_real_kafka(stack)
    world = World(stack, definitions="tests.e2e.scenario_plans:definitions")
    try:
        await world.open(participants=())
        yield world
    finally:
        await world.close()


@pytest.fixture(scope="module")
async def office(world: World) -> AsyncIterator[Office]:
    """Give a service beside the coordinator, as another process of the API has it: operators act there."""
    names = [f"{participant}.commands" for participant in Registry(definitions).participants]
    counts = {f"{world.prefix}{name}": PARTITIONS for name in ("replies", "events", *names)} | {f"{world.prefix}dlq": 1}
    publisher = Publisher(world.stack.kafka.bootstrap_servers, f"{world.prefix}office")
    await publisher.start()
    url, stop = world.stack.application_url(world.url), asyncio.Event()
    office = Office(url, Topology(world.prefix, counts), publisher, definitions)
    await office.open()
    running = asyncio.create_task(office.service.run(stop))
    yield office
    stop.set()
    await running
    await office.close()
    await publisher.stop()


@pytest.fixture(scope="module")
async def outcomes(world: World, office: Office) -> Outcomes:
    """Play all scenarios, many at once; answers what went wrong with each, if something did."""
    playable = dict(sorted(plans()[0].items(), key=lambda named: not named[1].waits))
    stage = Stage(world, await world.launched("coordinator"), office)
    participants = {name for plan in playable.values() for name in plan.definition.participants}
    stage.open([f"{world.prefix}{name}.commands" for name in sorted(participants)])
    try:
        # So many at a time that none has to wait for the others longer than its deadlines allow.
        turns = asyncio.Semaphore(AT_A_TIME)
        played = await asyncio.gather(
            *(_play(stage, plan, turns) for plan in playable.values()), return_exceptions=True
        )
    finally:
        await stage.close()
    return dict(zip(playable, played, strict=True))


async def _play(stage: Stage, plan: Plan, turns: asyncio.Semaphore) -> None:
    async with turns:
        await Performance(stage, plan).play()


@pytest.mark.parametrize("name", NAMES)
def test_the_real_stack_does_what_the_scenario_says(name: str, outcomes: Outcomes) -> None:
    """Commands, log, steps, incidents and dead letters are those that the pure machine foretold."""
    reason = plans()[1].get(name)
    if reason is not None:
        pytest.skip(reason)
    problem = outcomes[name]
    if problem is not None:
        raise problem


def test_most_scenarios_are_played() -> None:
    """Those that real servers cannot play are the exception, and each has a reason."""
    playable, reasons = plans()
    assert len(playable) >= AT_LEAST
    assert playable.keys() | reasons.keys() == set(NAMES)


async def test_every_reply_got_the_verdict_that_was_foretold(world: World, outcomes: Outcomes) -> None:
    """Duplicates, stale and foreign replies are counted as what they are, and nothing was quarantined."""
    assert not any(outcomes.values())
    said = Counter(
        str(happened.decision.verdict)
        for plan in plans()[0].values()
        for part in plan.parts
        for happened in part.happened
        if part.line.verb == "reply" and not isinstance(happened.decision, str)
    )
    [row] = await world.rows('SELECT sum(duplicate), sum(stale), sum("foreign"), sum(quarantined) FROM shard')
    names = (Verdict.DUPLICATE, Verdict.STALE, Verdict.FOREIGN, Verdict.QUARANTINED)
    assert dict(zip(names, row, strict=True)) == {name: said[name] for name in names}
