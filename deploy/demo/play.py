"""The demo itself: set the faults, send the orders, watch, help the stuck one, wait for silence, judge."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg

from deploy.demo.client import Api, Moved
from deploy.demo.judging import Case, Finding, Ledger, Parked, Seen, find, is_quiet, ledger_findings
from deploy.demo.ledger import ReplyTopic, read_ledger
from deploy.demo.records import Connection, Records, ledger_problems, read_records
from deploy.demo.screen import TERMINAL, Progress, Screen
from deploy.demo.site import REPLIES_PARTITIONS, Site
from deploy.demo.stories import Order, Story, excess_replies, orders_of
from participants.kit.faults import set_fault

PACE_S: Final = 0.12  # between two orders that are sent one by one, so that there is something to watch
BULK_SHARE: Final = 0.4  # of the good orders go with one bulk call
LOOK_S: Final = 0.2
ALL_ENDED_S: Final = 90.0  # about 10 on an idle machine
QUIET_S: Final = 10.0
REASON: Final = "the payment service gives refunds again"


@dataclass(frozen=True)
class Report:
    """What the last screen says."""

    findings: Sequence[Finding]
    books: Sequence[tuple[str, bool]]

    @property
    def wrong(self) -> list[str]:
        """What does not agree, by name."""
        stories = [finding.story.name for finding in self.findings if not finding.agrees]
        return stories + [line for line, fine in self.books if not fine]


class Play:
    """One run of the stories at a site."""

    def __init__(self, site: Site, stories: Sequence[Story], screen: Screen) -> None:
        self._site = site
        self._stories = stories
        self._screen = screen
        self._orders = {story.name: list(orders_of(story)) for story in stories}
        self._specials = {story.name: self._orders[story.name][0] for story in stories if story.orders == 1}
        self._faults: dict[str, list[tuple[str, int]]] = {}
        self._parked: dict[str, Parked] = {}
        self._sagas: dict[str, tuple[str, str]] = {}
        self._progress = Progress(sum(map(len, self._orders.values())))

    async def run(self) -> Report:
        """Play the stories and judge what came of them; raises LocalStackError when a process dies."""
        self._api = Api(self._site.api_url)
        self._connection: Connection = await asyncpg.connect(self._site.database_url)
        topic = ReplyTopic(self._site.stack.kafka.bootstrap_servers, self._site.replies, REPLIES_PARTITIONS)
        try:
            async with self._api, topic:
                await self._set_faults()
                sending = asyncio.create_task(self._send())
                try:
                    await self._watch(sending)
                finally:
                    sending.cancel()
                return await self._judge(await self._silence(topic))
        finally:
            await self._connection.close()

    # ------------------------------------------------------------ sending

    async def _set_faults(self) -> None:
        for story in self._stories:
            for switch in story.switches:
                for order in self._orders[story.name]:
                    number = await set_fault(
                        self._site.database_url,
                        switch.participant,
                        switch.kind,
                        command=switch.command,
                        match=order.id,
                        copies=switch.copies,
                        times=switch.times,
                    )
                    self._faults.setdefault(order.id, []).append((switch.participant, number))

    async def _send(self) -> None:
        """Send what takes longest first, then some orders at once, then the rest one by one."""
        many = [order for story in self._stories if story.orders > 1 for order in self._orders[story.name]]
        for order in sorted(self._specials.values(), key=lambda order: not order.story.switches):
            await self._api.start(order)
        at_once = round(len(many) * BULK_SHARE)
        if at_once:
            await self._api.start_many(many[:at_once])
            self._progress.note(f"{at_once} orders were sent with one call of POST /v1/sagas/bulk")
        for order in many[at_once:]:
            await self._api.start(order)
            await asyncio.sleep(PACE_S)

    # ------------------------------------------------------------ watching

    async def _watch(self, sending: asyncio.Task[None]) -> None:
        """Show how the sagas move until all have ended, or time is up; help the one that is stuck."""
        progress = self._progress
        while progress.seconds < ALL_ENDED_S:
            self._site.check_alive()
            if sending.done():
                sending.result()
            self._sagas = await self._api.statuses()
            progress.statuses = {key: status for key, (_, status) in self._sagas.items()}
            for order in self._specials.values():
                await self._look_at(order)
            self._screen.show(progress)
            if progress.has_ended:
                return
            await asyncio.sleep(LOOK_S)
        progress.note(f"not every saga has ended after {ALL_ENDED_S:g} s")
        self._screen.show(progress)

    async def _look_at(self, order: Order) -> None:
        found = self._sagas.get(order.id)
        before = self._progress.seen.get(order.story.name)
        if found is None or (before is not None and before.status in TERMINAL):
            return
        seen = self._progress.seen[order.story.name] = await self._api.saga(found[0])
        if seen.status == "suspended":
            await self._help(order, seen)

    async def _help(self, order: Order, seen: Seen) -> None:
        """Look at a suspended saga's incident and books, take the fault away, and let the saga go on."""
        note, name = self._progress.note, order.story.name
        if order.id not in self._parked:
            records = await read_records(self._connection, [seen.id])
            self._parked[order.id] = Parked(seen.open_incidents, records[seen.id].books)
            note(f"{name}: suspended, incident {', '.join(seen.open_incidents)}")
            self._screen.show(self._progress)
            if order.story.expected.parked:
                await self._repair(order)
                note(f"{name}: the fault is switched off")
        if order.story.expected.parked:
            with contextlib.suppress(Moved):  # then the next look shows how it stands now
                await self._api.retry(seen, REASON)
                note(f"{name}: POST /v1/sagas/{seen.id}/retry")

    async def _repair(self, order: Order) -> None:
        for participant, number in self._faults[order.id]:
            await self._connection.execute(f'delete from "{participant}".faults where id = $1', number)  # noqa: S608

    # ------------------------------------------------------------ judging

    async def _silence(self, topic: ReplyTopic) -> Ledger:
        """Wait until nothing is left to send, to read or to publish; answers the coordinator's books."""
        deadline = asyncio.get_running_loop().time() + QUIET_S
        while True:
            ledger = await read_ledger(self._connection, topic)
            problems = await ledger_problems(self._connection)
            if (is_quiet(ledger) and not problems) or asyncio.get_running_loop().time() > deadline:
                return ledger
            await asyncio.sleep(LOOK_S)

    async def _judge(self, ledger: Ledger) -> Report:
        self._sagas = await self._api.statuses()
        records = await read_records(self._connection, [saga_id for saga_id, _ in self._sagas.values()])
        findings = [
            find(story, [await self._case(order, records) for order in self._orders[story.name]])
            for story in self._stories
        ]
        books = ledger_findings(ledger, self._stories, excess_replies(self._stories))
        problems = await ledger_problems(self._connection)
        said = "; ".join(problems) or "the participants' totals agree with their entries, and nothing is left to send"
        return Report(findings, [*books, (said, not problems)])

    async def _case(self, order: Order, records: dict[str, Records]) -> Case:
        found = self._sagas.get(order.id)
        if found is None:
            return Case(order, None)
        return Case(order, await self._api.saga(found[0]), records[found[0]], self._parked.get(order.id))
