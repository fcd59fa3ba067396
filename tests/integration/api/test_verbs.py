"""Operators' verbs as an internal service: previews do nothing, acts happen once, are audited, and do what was said."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

import msgspec
import pytest

from coordinator.errors import InvalidInput, NotFound, Unavailable
from coordinator.saga import events
from coordinator.saga.events import Verb
from coordinator.saga.model import load_state
from coordinator.services.sagas import StartRequest
from coordinator.services.verbs import VerbRefused, VerbStale
from coordinator.store.batch import Batch
from coordinator.store.postgres import Committed
from tests.integration.api.office import Commit, Office

NOBODY = "00000000-0000-7000-8000-000000000000"
WHO = ("anna", "seen at three in the morning")
RESULT = msgspec.Raw(b'{"hold_id":"h-1"}')

VERBS: tuple[Verb, ...] = (
    events.RetryRequested(*WHO),
    events.SkipRequested(*WHO, "send_notice"),
    events.ResolveRequested(*WHO, "debit_source", events.Resolution.COMPLETED, RESULT),
    events.CompensateRequested(*WHO),
    events.ResumeRequested(*WHO),
    events.AbandonRequested(*WHO),
)


async def suspended(office: Office) -> tuple[str, int]:
    """Start a transfer and suspend it; answers its id and version."""
    transfer = {
        "transfer_id": f"transfer-{secrets.token_hex(6)}",
        "source_account": "acc-ann",
        "destination_account": "acc-bob",
        "amount_minor": 100,
        "currency": "EUR",
        "source_email": "ann@example.com",
        "destination_email": "bob@example.com",
    }
    started = (await office.service.start(StartRequest("BankTransfer", None, transfer))).saga
    held = await office.service.act(started.id, started.version, events.SuspendRequested(*WHO))
    assert held.status == "suspended"
    return held.id, held.version


async def row(office: Office, saga_id: str) -> Any:
    """Read a saga's row and how often it was acted on."""
    [found] = await office.ask(
        "SELECT version, status, state, (SELECT count(*) FROM saga_log WHERE saga_id = s.id) AS entries,"
        " (SELECT count(*) FROM audit_log WHERE saga_id = s.id) AS acts,"
        " (SELECT count(*) FROM outbox WHERE saga_id = s.id) AS unsent FROM saga AS s WHERE id = $1",
        saga_id,
    )
    return found


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: type(verb).__name__)
async def test_a_verb_does_what_its_preview_said(office: Office, verb: Verb) -> None:
    """A preview writes nothing; the act after it ends in the status, and sends the commands, that the preview named."""
    saga_id, version = await suspended(office)
    before = await row(office, saga_id)
    preview = await office.service.preview(saga_id, verb)
    assert await row(office, saga_id) == before
    assert (preview.version, preview.status) == (version, "suspended")
    summary = await office.service.act(saga_id, version, verb)
    assert (summary.status, summary.version) == (preview.next_status, version + 1)
    [log] = await office.ask(
        "SELECT event, convert_from(data, 'UTF8')::jsonb->>'actor' AS actor FROM saga_log"
        " WHERE saga_id = $1 AND version = $2",
        saga_id,
        version + 1,
    )
    assert tuple(log) == (type(verb).__name__, "anna")
    [audit] = await office.ask(
        "SELECT actor, action, reason, version_before, version_after FROM audit_log WHERE saga_id = $1"
        " ORDER BY id DESC LIMIT 1",
        saga_id,
    )
    assert tuple(audit) == (*WHO[:1], preview.verb, WHO[1], version, version + 1)
    sent = {command.command_id for command in preview.commands}
    issued = load_state((await row(office, saga_id))["state"])
    attempts = {step.attempt for step in issued.steps} | {step.undo_attempt for step in issued.steps}
    assert {command.attempt for command in preview.commands} <= attempts
    assert all(command_id.startswith(f"{saga_id}:1:") for command_id in sent)


async def test_a_preview_lists_commands_with_what_they_carry(office: Office) -> None:
    """Retry repeats the open command under its own id; compensate names what will be undone, first the latest."""
    saga_id, version = await suspended(office)
    [command] = (await office.service.preview(saga_id, events.RetryRequested(*WHO))).commands
    assert (command.command, command.command_id, command.attempt) == (
        "DebitAccount",
        f"{saga_id}:1:debit_source:action",
        2,
    )
    assert msgspec.json.decode(command.payload)["source_account"] == "acc-ann"
    preview = await office.service.preview(saga_id, events.CompensateRequested(*WHO))
    assert [command.command for command in preview.commands] == ["ReturnDebit"]
    assert preview.to_be_undone == ["debit_source"]
    assert (preview.version, preview.stays_done) == (version, [])


async def test_an_abandoned_saga_says_what_remains(office: Office) -> None:
    """The preview of abandon names the steps whose effects stay, or may."""
    saga_id, version = await suspended(office)
    stated = events.ResolveRequested(*WHO, "debit_source", events.Resolution.COMPLETED, RESULT)
    pending = await office.service.act(saga_id, version, stated)
    preview = await office.service.preview(saga_id, events.AbandonRequested(*WHO))
    assert (preview.next_status, preview.commands) == ("abandoned", [])
    assert preview.stays_done == ["debit_source", "record_transfer"]
    assert preview.version == pending.version


async def test_a_preview_of_a_saga_that_turned_back_says_what_will_be_undone_and_what_remains(office: Office) -> None:
    """Suspended, it will go on undoing; abandoned, it undoes nothing more and what was not undone stays done."""
    saga_id, version = await suspended(office)
    stated = events.ResolveRequested(*WHO, "debit_source", events.Resolution.COMPLETED, RESULT)
    saga = await office.service.act(saga_id, version, stated)
    saga = await office.service.act(saga_id, saga.version, events.CompensateRequested(*WHO))
    later = await office.service.preview(saga_id, events.SuspendRequested(*WHO))
    assert (later.to_be_undone, later.stays_done) == (["record_transfer", "debit_source"], [])
    never = await office.service.preview(saga_id, events.AbandonRequested(*WHO))
    assert (never.to_be_undone, never.stays_done) == ([], ["debit_source", "record_transfer"])


async def test_what_is_stated_must_fit_the_step(office: Office) -> None:
    """A resolution with a result that the step's model refuses names the field, and nothing changes."""
    saga_id, version = await suspended(office)
    before = await row(office, saga_id)
    wrong = events.ResolveRequested(*WHO, "debit_source", events.Resolution.COMPLETED, msgspec.Raw(b"{}"))
    for ask in (office.service.preview(saga_id, wrong), office.service.act(saga_id, version, wrong)):
        with pytest.raises(InvalidInput) as refusal:
            await ask
        assert refusal.value.pointer == "/result/hold_id"
    assert await row(office, saga_id) == before


async def test_what_is_not_possible_is_refused_with_a_sentence(office: Office) -> None:
    """Refusals of the machine reach the operator with status and version; an unknown saga is not found."""
    saga_id, version = await suspended(office)
    with pytest.raises(VerbRefused, match="step debit_source is issued, it may have run: resolve it") as refusal:
        await office.service.act(saga_id, version, events.SkipRequested(*WHO, "debit_source"))
    assert refusal.value.members == {
        "saga_id": saga_id,
        "saga_status": "suspended",
        "version": version,
        "allowed": ["retry", "skip", "resolve", "compensate", "resume", "abandon"],
    }
    with pytest.raises(VerbStale):
        await office.service.act(saga_id, version - 1, events.ResumeRequested(*WHO))
    with pytest.raises(VerbRefused, match="suspend is not possible while the saga is suspended"):
        await office.service.act(saga_id, version - 1, events.SuspendRequested(*WHO))
    with pytest.raises(NotFound):
        await office.service.preview(NOBODY, events.ResumeRequested(*WHO))


async def test_of_two_operators_one_acts(office: Office) -> None:
    """Two verbs for the same version at the same time: one happens, the other hears that the saga has moved on."""
    saga_id, version = await suspended(office)
    answers = await asyncio.gather(
        office.service.act(saga_id, version, events.ResumeRequested("anna", "go on")),
        office.service.act(saga_id, version, events.CompensateRequested("bob", "go back")),
        return_exceptions=True,
    )
    assert sum(isinstance(answer, VerbRefused | VerbStale) for answer in answers) == 1
    found = await row(office, saga_id)
    assert (found["version"], found["acts"]) == (version + 1, 2)


async def test_an_act_whose_answer_was_lost_happened_once(office: Office) -> None:
    """The commit happened and the connection broke: the operator hears of success, and it is audited once."""
    saga_id, version = await suspended(office)
    left = [1]

    async def lose_the_answer(commit: Commit, batch: Batch) -> Committed:
        committed = await commit(batch)
        if left and left.pop():
            raise Unavailable("the connection was lost")
        return committed

    office.store.around = lose_the_answer
    summary = await office.service.act(saga_id, version, events.CompensateRequested(*WHO))
    assert (summary.status, summary.version) == ("compensating", version + 1)
    assert (await row(office, saga_id))["acts"] == 2


async def test_a_changed_payload_is_in_the_log(office: Office) -> None:
    """Past the pivot a failed step may be asked for something else: a new generation, and the log keeps what it is."""
    saga_id, version = await suspended(office)
    for step, result in (
        ("debit_source", b'{"hold_id":"h-1"}'),
        ("record_transfer", b'{"entry_id":"e-1"}'),
        ("credit_destination", b'{"amount_minor":100}'),
    ):
        stated = events.ResolveRequested(*WHO, step, events.Resolution.COMPLETED, msgspec.Raw(result))
        summary = await office.service.act(saga_id, version, stated)
        summary = await office.service.act(saga_id, summary.version, events.SuspendRequested(*WHO))
        version = summary.version
    failed = events.ResolveRequested(*WHO, "send_notice", events.Resolution.FAILED)
    version = (await office.service.act(saga_id, version, failed)).version
    other = msgspec.Raw(b'{"transfer_id":"t","source_email":"a@b","destination_email":"c@d"}')
    again = events.RetryRequested(*WHO, "send_notice", other)
    preview = await office.service.preview(saga_id, again)
    assert [(one.command_id, one.attempt) for one in preview.commands] == [(f"{saga_id}:2:send_notice:action", 1)]
    assert bytes(preview.commands[0].payload) == bytes(other)
    summary = await office.service.act(saga_id, version, again)
    assert summary.status == "pending"
    [log] = await office.ask(
        "SELECT convert_from(data, 'UTF8')::jsonb->'payload'->>'destination_email' AS told FROM saga_log"
        " WHERE saga_id = $1 AND version = $2",
        saga_id,
        summary.version,
    )
    assert log["told"] == "c@d"
