"""The demo: `python -m deploy.demo`, which is `make demo`.

Runs Kafka, Postgres, the coordinator and its participants, starts sagas that go well and sagas that do not, shows them
moving, and checks the outcome against the participants' own tables. Exit codes: 0 all agrees, 1 something disagrees or
could not be started, 2 a wrong option, 130 interrupted.

    STORY=bank    one family of stories (order, bank, travel, choreography), or one story by its name; `all` is usual
    ORDERS=40     how many good orders there are beside the special ones
    KEEP=1        stay up afterwards, on port 8080 if that is free, and print what to try
    BROKER=jvm|docker|memory|external   DATABASE=wheel|system|docker|external
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Sequence
from functools import partial

import asyncpg
from aiokafka.errors import KafkaError
from rich.console import Console

from deploy.demo.client import ApiRefused
from deploy.demo.families import Chapter
from deploy.demo.hints import hints
from deploy.demo.options import Options, WrongOption
from deploy.demo.performance import Report, perform
from deploy.demo.screen import Screen, screen_for
from deploy.demo.site import Site, usual_port
from deploy.demo.verdicts import show_books, show_findings, show_table
from deploy.local.choice import LocalStackError
from deploy.local.stack import LocalStack

DISAGREES, WRONG_OPTION, INTERRUPTED = 1, 2, 130


def main() -> int:
    """Run the demo and return its exit code."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    console = Console(highlight=False)
    try:
        options = Options.read(os.environ)
    except WrongOption as error:
        print(f"error: {error}", file=sys.stderr)
        return WRONG_OPTION
    try:
        return _run(options, console)
    except LocalStackError as error:
        print(f"error: {error}", file=sys.stderr)
        return DISAGREES
    except KeyboardInterrupt:
        print("interrupted; everything is stopped", file=sys.stderr)
        return INTERRUPTED


def _run(options: Options, console: Console) -> int:
    began = time.monotonic()

    def say(line: str) -> None:
        console.print(f"{time.monotonic() - began:5.1f} s  {line}", markup=False, soft_wrap=True)

    say("setting up: Kafka, Postgres, the coordinator and its participants")
    with LocalStack(say=say) as stack:
        families = [chapter.family for chapter in options.chapters]
        site = Site(stack, families, usual_port() if options.keep else None)
        try:
            site.set_up(say)
            report = _play(site, options, console)
            _conclude(report, site, console)
            if options.keep:
                _stay(site, options, console)
        finally:
            # From here on an impatient Ctrl-C would only leave something behind; each stop has a time limit.
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            site.tear_down()
    return DISAGREES if report.wrong else 0


def _play(site: Site, options: Options, console: Console) -> Report:
    screens: list[Screen] = []

    def curtain(chapter: Chapter) -> Screen:
        stories = "1 story" if len(chapter.stories) == 1 else f"{len(chapter.stories)} stories"
        things = f"{chapter.requests} {chapter.family.thing}{'s' * (chapter.requests != 1)}"
        console.print(f"\n{chapter.family.name}: {things}, {stories}", style="bold", markup=False)
        screens.append(screen_for(console, chapter))
        return screens[-1]

    try:
        return asyncio.run(perform(site, options.chapters, curtain, partial(show_findings, console)))
    except (ApiRefused, asyncpg.PostgresError, asyncpg.InterfaceError, KafkaError, OSError) as error:
        _close(screens)
        site.check_alive()  # a process that died says more than the call that missed it
        raise LocalStackError(f"{error}; the logs of all processes are in {site.stack.run.path}") from error
    finally:
        _close(screens)


def _close(screens: Sequence[Screen]) -> None:
    for screen in screens:
        screen.close()


def _conclude(report: Report, site: Site, console: Console) -> None:
    show_books(console, report.books)
    for told in report.told:
        show_table(console, told)
    if report.wrong:
        console.print(f"\nDISAGREES: {'; '.join(report.wrong)}", style="bold red", markup=False, soft_wrap=True)
        console.print(f"the logs of all processes are in {site.stack.run.path}", markup=False, soft_wrap=True)
    else:
        count = "the story agrees" if report.stories == 1 else f"all {report.stories} stories agree"
        console.print(f"\n{count}", style="bold green", markup=False)


def _stay(site: Site, options: Options, console: Console) -> None:
    console.print("\neverything stays up; Ctrl-C ends it\n", style="bold")
    for line in hints(site, options.chapters, site.stack.run.path):
        console.print(line, markup=False, soft_wrap=True)
    try:
        signal.pause()
    except KeyboardInterrupt:
        console.print("\nstopping")


if __name__ == "__main__":
    sys.exit(main())
