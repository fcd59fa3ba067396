"""Verbs, bulk work, letters and keys against a real coordinator."""

from __future__ import annotations

import json
import threading

import pytest

from coordinator.exits import ExitCode
from tests.integration.cli.terminal import Terminal


def test_a_script_retries_what_it_has_seen(terminal: Terminal) -> None:
    """Under the version that it names; a second time ends with 4, and changes nothing."""
    saga_id = terminal.suspended("cli-retry")
    words = ("retry", saga_id, "--reason", "payment is back", "--yes", "--expected-version", "2")
    done = terminal.run(*words)
    assert (done.exit_code, "pending at version 3" in done.stdout) == (0, True), done.output
    assert terminal.run(*words).exit_code == ExitCode.REFUSED
    assert terminal.json("show", saga_id)["version"] == 3
    acts = terminal.api.fetch("SELECT outcome, action, reason FROM audit_log WHERE saga_id = $1 ORDER BY id", saga_id)
    assert [row["outcome"] for row in acts] == ["done", "refused"]
    assert (acts[0]["action"], acts[0]["reason"]) == ("retry", "payment is back")


def test_a_version_that_was_not_seen_is_refused(terminal: Terminal) -> None:
    """412 ends with 4."""
    saga_id = terminal.suspended("cli-stale")
    done = terminal.run("retry", saga_id, "--reason", "r", "--yes", "--expected-version", "1")
    assert done.exit_code == ExitCode.REFUSED
    assert "at version 2" in done.stderr


def test_a_person_sees_confirms_and_acts(terminal: Terminal) -> None:
    """The preview names the command; the answer no changes nothing; the answer yes retries."""
    saga_id = terminal.suspended("cli-preview")
    refused = terminal.run("retry", saga_id, "--reason", "r", typed="n\n")
    assert refused.exit_code == ExitCode.NO
    assert "ReserveItems" in refused.stderr
    assert terminal.json("show", saga_id)["version"] == 2
    done = terminal.run("retry", saga_id, "--reason", "r", typed="y\n")
    assert done.exit_code == 0, done.output
    assert terminal.json("show", saga_id)["version"] == 3


@pytest.mark.parametrize(
    "words",
    [
        ("skip", "--step", "reserve_inventory"),
        ("resolve", "--step", "reserve_inventory", "--resolution", "failed"),
        ("compensate",),
        ("resume",),
        ("abandon",),
    ],
)
def test_every_verb_works_on_a_halted_saga(terminal: Terminal, words: tuple[str, ...]) -> None:
    """Halted by the verb, so that it remembers which way it faced; what is possible is done."""
    saga_id = terminal.started(f"cli-verb-{words[0]}")
    assert terminal.run("suspend", saga_id, "--reason", "r", "--yes").exit_code == 0
    done = terminal.run(words[0], saga_id, *words[1:], "--reason", "r", "--yes")
    assert done.exit_code in (0, ExitCode.REFUSED), done.output
    moved = terminal.json("show", saga_id)["version"]
    assert moved == (3 if done.exit_code == 0 else 2)


def test_bulk_work_is_counted_confirmed_and_done(terminal: Terminal) -> None:
    """All suspended sagas of the definition go on; each has an outcome."""
    ids = {terminal.suspended(f"cli-bulk-{number}") for number in range(3)}
    words = ("bulk", "retry", "--status", "suspended", "--definition", "OrderFulfillment", "--rate", "500")
    assert terminal.json(*words, "--dry-run")["count"] >= 3
    done = terminal.run(*words, "--reason", "all is back", "-o", "json", typed="y\n")
    operation = json.loads(done.stdout[done.stdout.index("{") :])
    assert operation["state"] == "done"
    items = terminal.run("bulk", "items", operation["id"], "--all", "-o", "jsonl").stdout.splitlines()
    assert ids <= {json.loads(line)["saga_id"] for line in items}
    assert operation["id"] in terminal.run("bulk", "list").stdout


def test_a_saga_is_watched_to_its_end(terminal: Terminal) -> None:
    """It is given up while somebody watches: that is told, and the watch ends."""
    saga_id = terminal.suspended("cli-watch")
    body = {"reason": "r", "expected_version": 2}
    abandoned = threading.Timer(1.0, lambda: terminal.guarded.post(f"/v1/sagas/{saga_id}/abandon", body))
    abandoned.start()
    try:
        done = terminal.run("watch", saga_id)
    finally:
        abandoned.join()
    assert (done.exit_code, "AbandonRequested" in done.stdout) == (ExitCode.NO, True), done.output


def test_an_incident_is_taken_noted_and_resolved(terminal: Terminal) -> None:
    """What was done to it is there when it is looked at."""
    saga_id = terminal.suspended("cli-incident")
    terminal.api.fetch(
        "INSERT INTO incident (saga_id, saga_version, reason, step_name, detail)"
        " VALUES ($1, 2, 'conflicting_undo', 'reserve_inventory', 'x')",
        saga_id,
    )
    listed = terminal.json("incidents", "--all")["incidents"]
    incident = str(next(each["id"] for each in listed if each["saga_id"] == saga_id))
    assert terminal.run("incidents", "assign", incident, "--to", "ann").exit_code == 0
    assert terminal.run("incidents", "note", incident, "the carrier is away").exit_code == 0
    shown = terminal.run("incidents", "show", incident).stdout
    assert "ann" in shown
    assert "the carrier is away" in shown
    done = terminal.run("incidents", "resolve", incident, "--reason", "called the carrier")
    assert done.exit_code == 0, done.output
    assert terminal.run("incidents", "resolve", incident, "--reason", "again").exit_code == ExitCode.REFUSED


def test_a_letter_is_looked_at_and_discarded(terminal: Terminal) -> None:
    """What can be read of it is shown; a second time there is nothing to discard."""
    rows = terminal.api.fetch(
        "INSERT INTO dead_letter (kind, reason, detail, cluster_id, topic, partition, first_offset, next_offset,"
        " value, value_length, headers, complete)"
        " VALUES ('record', 'schema', 'no JSON', 'c', 'replies', 0, 1, 2, 'half a te', 9, '[]', true) RETURNING id"
    )
    letter = str(rows[0]["id"])
    assert letter in terminal.run("dlq", "--kind", "record").stdout
    assert "half a te" in terminal.run("dlq", "show", letter).stdout
    assert terminal.run("dlq", "discard", letter, "--reason", "r", typed="n\n").exit_code == ExitCode.NO
    assert terminal.json("dlq", "discard", letter, "--reason", "r", "--yes")["state"] == "discarded"
    assert terminal.run("dlq", "discard", letter, "--reason", "r", "--yes").exit_code == ExitCode.REFUSED
    assert terminal.run("dlq", "redrive", letter, "--reason", "r", "--yes").exit_code == ExitCode.REFUSED
    assert terminal.run("dlq", "show", "999999").exit_code == ExitCode.NOT_FOUND


def test_a_key_is_made_listed_and_revoked(terminal: Terminal) -> None:
    """The secret comes once, alone on standard output."""
    secret = terminal.run("keys", "create", "cli-tests", "--role", "viewer").stdout.strip()
    assert len(secret.split()) == 1
    listed = terminal.json("keys", "list", "--all")["keys"]
    key = next(each for each in listed if each["name"] == "cli-tests" and each["state"] == "valid")
    assert secret not in json.dumps(listed)
    assert terminal.run("keys", "revoke", key["id"], "--reason", "done", "--yes").exit_code == 0
