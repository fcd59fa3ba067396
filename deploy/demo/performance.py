"""The whole demo: one family of stories after the other, and at the end the coordinator's and everybody's books."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import asyncpg

from deploy.demo.client import Api
from deploy.demo.families import Chapter
from deploy.demo.judging.coordinator import ledger_findings
from deploy.demo.ledger import ReplyTopic
from deploy.demo.play import Backstage, Play, Told, silence
from deploy.demo.screen import Screen
from deploy.demo.site import REPLIES_PARTITIONS, Site
from deploy.demo.starting import Stage
from deploy.demo.totals import Connection, total_problems

Raise: TypeAlias = Callable[[Chapter], Screen]
Review: TypeAlias = Callable[[Told], None]


@dataclass(frozen=True)
class Report:
    """What the last screen says."""

    told: Sequence[Told]
    books: Sequence[tuple[str, bool]]

    @property
    def stories(self) -> int:
        """How many stories were told."""
        return sum(len(told.findings) for told in self.told)

    @property
    def wrong(self) -> list[str]:
        """What does not agree, by name."""
        return [line for told in self.told for line in told.wrong] + [line for line, fine in self.books if not fine]


async def perform(site: Site, chapters: Sequence[Chapter], curtain: Raise, review: Review) -> Report:
    """Play each chapter on a screen of its own, review it at once, and read the books when all is over.

    Raises LocalStackError when a process dies, and what the API, Kafka and Postgres raise.
    """
    kafka = site.stack.kafka.bootstrap_servers
    connection: Connection = await asyncpg.connect(site.database_url)
    topic = ReplyTopic(kafka, site.replies, REPLIES_PARTITIONS)
    try:
        async with Api(site.api_url) as api, topic:
            backstage = Backstage(Stage(api, kafka, site.topic_prefix), connection, topic)
            told = []
            for chapter in chapters:
                told.append(await Play(site, chapter, backstage, curtain(chapter)).run())
                review(told[-1])
            return Report(told, await _books(site, chapters, connection, topic))
    finally:
        await connection.close()


async def _books(
    site: Site, chapters: Sequence[Chapter], connection: Connection, topic: ReplyTopic
) -> list[tuple[str, bool]]:
    ledger = await silence(site, connection, topic)
    stories = [story for chapter in chapters for story in chapter.stories]
    problems = await total_problems(connection, site.participants)
    said = "; ".join(problems) or "the participants' totals agree with their entries, and nothing is left to send"
    return [*ledger_findings(ledger, stories), (said, not problems)]
