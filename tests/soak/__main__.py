"""Random sagas, faults and kills on real servers, for a while: `python -m tests.soak --minutes N` or `make soak`.

Two coordinators and all sample participants run as processes and are killed at random; sagas meet random faults. In the
end everything must have ended, no money may be missing, and the independent checker must find nothing. Memory, files,
sessions, outbox and dead rows have limits all the time; when nothing moves for a minute it ends and says what hangs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import sys
from pathlib import Path

from deploy.local.choice import LocalStackError
from deploy.local.stack import LocalStack
from deploy.local.stack import say_on_terminal as say
from tests.e2e.world import World
from tests.soak.definitions import PARTICIPANTS
from tests.soak.diagnosing import diagnose
from tests.soak.running import DEFINITIONS, Soak


def main() -> int:
    """Start servers, soak, and print one line of JSON last."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=15.0, help="how long sagas are started and disturbed")
    parser.add_argument("--seed", type=int, help="what is drawn at random follows from it; drawn where none is given")
    parser.add_argument("--stack", type=Path, help="servers that `python -m deploy.local --json FILE` keeps running")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    number = random.SystemRandom().randrange(2**32) if arguments.seed is None else arguments.seed
    say(f"seed {number}")
    try:
        with LocalStack.of_file(arguments.stack, say=say) if arguments.stack else LocalStack(say=say) as stack:
            if not stack.kafka.durable:
                say(f"a soak needs a real Kafka, this is {stack.kafka.description}")
                return 1
            return asyncio.run(_soak(stack, number, arguments.minutes))
    except LocalStackError as error:
        say(f"error: {error}")
        return 1


async def _soak(stack: LocalStack, number: int, minutes: float) -> int:
    world = World(stack, DEFINITIONS)
    soak = Soak(world, number, say)
    failure = ""
    try:
        await world.open(PARTICIPANTS)
        try:
            await soak.run(minutes)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told with all that helps
            failure = f"{type(error).__name__}: {error}"
            say(f"FAILED: {failure}\n{await diagnose(world)}")
        figures = await soak.figures(failure)
    finally:
        await world.close()
    say(json.dumps(figures))
    return 1 if failure else 0


if __name__ == "__main__":
    sys.exit(main())
