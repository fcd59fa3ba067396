"""One family's stories: set the faults, send the requests, watch, help who is stuck, wait for silence, judge."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from deploy.demo.client import Moved
from deploy.demo.families import Chapter
from deploy.demo.judging.coordinator import Ledger, is_quiet
from deploy.demo.judging.sagas import Case, Finding, Moment, find
from deploy.demo.ledger import ReplyTopic, read_ledger
from deploy.demo.records import read_letters, read_records
from deploy.demo.screen import TERMINAL, Progress, Screen
from deploy.demo.seen import Seen
from deploy.demo.site import Site, wait_until_ready
from deploy.demo.starting import Stage
from deploy.demo.stories.model import Family, Request
from deploy.demo.totals import Connection, total_problems
from participants.kit.faults import set_fault

PACE_S: Final = 0.12  # between two sagas that are started one by one, so that there is something to watch
BULK_SHARE: Final = 0.4  # of the good ones go with one bulk call
LOOK_S: Final = 0.2
THINK_S: Final = 0.8  # before an external step is answered, so that it can be seen waiting
ALL_ENDED_S: Final = 90.0  # about 10 on an idle machine
QUIET_S: Final = 10.0
LAST_LOOKS_S: Final = 3.0  # at what disagrees
REASON: Final = "what was broken works again"


@dataclass(frozen=True)
class Told:
    """What came of a family's stories; `watched` is what was seen all along, and whether that is as it should be."""

    family: Family
    findings: Sequence[Finding]
    watched: Sequence[tuple[str, bool]]

    @property
    def wrong(self) -> list[str]:
        """What does not agree, by name."""
        stories = [finding.story.name for finding in self.findings if not finding.agrees]
        return stories + [line for line, fine in self.watched if not fine]


@dataclass(frozen=True)
class Backstage:
    """What playing takes beside the site: where sagas begin, the database, and how far the replies' topic reaches."""

    stage: Stage
    connection: Connection
    topic: ReplyTopic


@dataclass
class _Special:
    """The one saga of a story that is looked at closely, and what was noted of it."""

    request: Request
    faults: list[tuple[str, int]] = field(default_factory=list)
    parked: Moment | None = None
    asked: Moment | None = None
    asked_at: float | None = None
    answered: bool = False


class Play:
    """One run of a family's stories at a site."""

    def __init__(self, site: Site, chapter: Chapter, backstage: Backstage, screen: Screen) -> None:
        self._site = site
        self._family = chapter.family
        self._stories = chapter.stories
        self._stage = backstage.stage
        self._connection = backstage.connection
        self._topic = backstage.topic
        self._screen = screen
        self._requests = {story.name: self._family.requests(story) for story in self._stories}
        self._specials = {
            story.name: _Special(self._requests[story.name][0]) for story in self._stories if story.requests == 1
        }
        self._sagas: dict[str, tuple[str, str]] = {}
        self._progress = Progress(chapter.requests)
        self._sent = 0
        self._away: set[str] = set()

    async def run(self) -> Told:
        """Play the stories and judge what came of them; raises LocalStackError when a process dies."""
        if self._family.watch is None:
            return await self._judge(await self._perform())
        async with self._family.watch(self._site.database_url) as watch:
            settled = await self._perform()
            return await self._judge([*settled, *await watch.findings()])

    async def _perform(self) -> list[tuple[str, bool]]:
        """Play until nothing moves any more; answers what there is to say of the end."""
        await self._set_faults()
        sending = asyncio.create_task(self._send())
        try:
            await self._watch(sending)
        finally:
            sending.cancel()
            self._screen.close()
        for name in [*self._away]:  # nobody has asked for it, and the next stories may need it
            await self._bring_back(name)
        settled = [] if self._family.settle is None else [await self._family.settle(self._stage)]
        await silence(self._site, self._connection, self._topic)
        return settled

    # ------------------------------------------------------------ sending

    async def _set_faults(self) -> None:
        for story in self._stories:
            for switch in story.switches:
                for request in self._requests[story.name]:
                    number = await set_fault(
                        self._site.database_url,
                        switch.participant,
                        switch.kind,
                        command=switch.command,
                        match=request.key,
                        seconds=switch.seconds,
                        copies=switch.copies,
                        code=switch.code,
                        times=switch.times,
                    )
                    if story.name in self._specials:
                        self._specials[story.name].faults.append((switch.participant, number))

    async def _send(self) -> None:
        """Send what takes longest first, then some at once, then the rest one by one."""
        many = [request for story in self._stories if story.requests > 1 for request in self._requests[story.name]]
        specials = [special.request for special in self._specials.values() if special.request.story.away is None]
        for request in sorted(specials, key=lambda request: not request.story.switches):
            await self._start([request])
        at_once = round(len(many) * BULK_SHARE)
        if at_once:
            await self._start(many[:at_once])
            self._progress.note(f"{at_once} {self._family.thing}s were sent at once")
        for request in many[at_once:]:
            await self._start([request])
            await asyncio.sleep(PACE_S)
        for special in self._specials.values():
            if special.request.story.away is not None:
                await self._start_without(special.request.story.away, special.request)

    async def _start_without(self, name: str, request: Request) -> None:
        """Send a request while a participant is away: when nobody else needs it any more."""
        while not self._progress.have_ended(self._sent):  # noqa: ASYNC110 - the watcher asks the API now and then
            await asyncio.sleep(LOOK_S)
        self._away.add(name)
        await asyncio.to_thread(self._site.stop_participant, name)
        self._progress.note(f"{request.story.name}: the process of {name} is stopped")
        await self._start([request])

    async def _start(self, requests: Sequence[Request]) -> None:
        wanted = [request.input for request in requests for _ in range(request.story.copies)]
        await self._family.start(self._stage, self._family.definition, wanted)
        self._sent += len(requests)

    # ------------------------------------------------------------ watching

    async def _watch(self, sending: asyncio.Task[None]) -> None:
        """Show how the sagas move until all have ended, or time is up; help those that wait for somebody."""
        progress = self._progress
        while progress.seconds < ALL_ENDED_S:
            self._site.check_alive()
            if sending.done():
                sending.result()
            self._sagas = await self._stage.api.statuses(self._family.definition)
            progress.statuses = {
                request.key: self._sagas[request.key][1]
                for requests in self._requests.values()
                for request in requests
                if request.key in self._sagas
            }
            for special in self._specials.values():
                await self._look_at(special)
            self._screen.show(progress)
            if progress.has_ended:
                return
            await asyncio.sleep(LOOK_S)
        progress.note(f"not every saga has ended after {ALL_ENDED_S:g} s")
        self._screen.show(progress)

    async def _look_at(self, special: _Special) -> None:
        request = special.request
        found = self._sagas.get(request.key)
        before = self._progress.seen.get(request.story.name)
        if found is None or (before is not None and before.status in TERMINAL):
            return
        seen = self._progress.seen[request.story.name] = self._family.read(await self._stage.api.saga(found[0]))
        if seen.status == "suspended":
            await self._help(special, seen)
        elif request.story.answer is not None and not special.answered:
            await self._answer(special, seen)

    async def _help(self, special: _Special, seen: Seen) -> None:
        """Look at a suspended saga's incident and books, take the fault away, and let the saga go on."""
        note, story = self._progress.note, special.request.story
        if special.parked is None:
            special.parked = await self._moment(special.request, seen)
            note(f"{story.name}: suspended, incident {', '.join(seen.open_incidents)}")
            self._screen.show(self._progress)
            if story.expected.parked:
                await self._repair(special)
        if story.expected.parked and (verb := story.expected.parked.verb):
            with contextlib.suppress(Moved):  # then the next look shows how it stands now
                await self._stage.api.act(verb, seen, REASON)
                note(f"{story.name}: POST /v1/sagas/{seen.id}/{verb}")

    async def _answer(self, special: _Special, seen: Seen) -> None:
        """Look at the books of a saga that waits for somebody outside and, after a while, be that somebody."""
        story, answer = special.request.story, special.request.story.answer
        if answer is None or seen.outcomes[self._family.steps.index(answer.step)] != "issued":
            return
        now = self._progress.seconds
        if special.asked_at is None:
            special.asked, special.asked_at = await self._moment(special.request, seen), now
            self._progress.note(f"{story.name}: waits for {answer.step}")
        if now - special.asked_at < THINK_S:
            return
        special.answered = True
        with contextlib.suppress(Moved):  # too late; what came of it is judged
            if answer.code is None:
                await self._stage.api.complete(seen.id, answer.step, answer.result)
            else:
                await self._stage.api.fail(seen.id, answer.step, answer.code)
            verb = "complete" if answer.code is None else "fail"
            self._progress.note(f"{story.name}: POST /v1/sagas/{seen.id}/steps/{answer.step}/{verb}")

    async def _moment(self, request: Request, seen: Seen) -> Moment:
        recorded = self._family.recorded_under(request, seen.id)
        records = await read_records(self._connection, self._family, [recorded])
        return Moment(seen.open_incidents, records[recorded].books)

    async def _repair(self, special: _Special) -> None:
        for participant, number in special.faults:
            await self._connection.execute(f'delete from "{participant}".faults where id = $1', number)  # noqa: S608
        if special.faults:
            self._progress.note(f"{special.request.story.name}: the fault is switched off")
        if special.request.story.away is not None:
            await self._bring_back(special.request.story.away)
            self._progress.note(f"{special.request.story.name}: {special.request.story.away} is back")

    async def _bring_back(self, name: str) -> None:
        self._away.discard(name)
        # A child dies with the thread that has started it, so another one may only wait.
        await asyncio.to_thread(wait_until_ready, self._site.start_participant(name))

    # ------------------------------------------------------------ judging

    async def _judge(self, watched: Sequence[tuple[str, bool]]) -> Told:
        """Judge every story; what disagrees is looked at again for a while: the coordinator may still be reading."""
        deadline = asyncio.get_running_loop().time() + LAST_LOOKS_S
        while True:
            self._sagas = await self._stage.api.statuses(self._family.definition)
            findings = [
                find(self._family, story, await self._cases(self._requests[story.name])) for story in self._stories
            ]
            if all(finding.agrees for finding in findings) or asyncio.get_running_loop().time() > deadline:
                return Told(self._family, findings, watched)
            await asyncio.sleep(LOOK_S)

    async def _cases(self, requests: Sequence[Request]) -> list[Case]:
        known = {request.key: self._sagas[request.key][0] for request in requests if request.key in self._sagas}
        recorded = {
            request.key: self._family.recorded_under(request, known[request.key])
            for request in requests
            if request.key in known
        }
        records = await read_records(self._connection, self._family, list(recorded.values()))
        letters = await read_letters(self._connection, list(known.values()))
        cases = []
        for request in requests:
            if (saga_id := known.get(request.key)) is None:
                cases.append(Case(request, None))
                continue
            seen = self._family.read(await self._stage.api.saga(saga_id))
            special = self._specials.get(request.story.name)
            parked, asked = (None, None) if special is None else (special.parked, special.asked)
            cases.append(Case(request, seen, records[recorded[request.key]], letters[saga_id], parked, asked))
        return cases


async def silence(site: Site, connection: Connection, topic: ReplyTopic) -> Ledger:
    """Wait until nothing is left to send, to read or to publish; answers the coordinator's books."""
    deadline = asyncio.get_running_loop().time() + QUIET_S
    while True:
        ledger = await read_ledger(connection, topic)
        problems = await total_problems(connection, site.participants)
        if (is_quiet(ledger) and not problems) or asyncio.get_running_loop().time() > deadline:
            return ledger
        await asyncio.sleep(LOOK_S)
