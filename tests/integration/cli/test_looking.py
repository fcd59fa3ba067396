"""Looking and starting against a real coordinator."""

from __future__ import annotations

import json
import secrets
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from coordinator.exits import ExitCode
from coordinator.store.database import statement
from tests.integration.api.server import order
from tests.integration.cli.terminal import END, Terminal

NOBODY = "00000000-0000-7000-8000-000000000000"

PAGE = 50  # as the API has it


def test_a_saga_is_started_found_and_shown(terminal: Terminal) -> None:
    """What `start` says is what `list` finds and `show` shows; started twice it is the same saga."""
    saga_id = terminal.started("cli-found")
    assert terminal.started("cli-found") == saga_id
    assert [each["id"] for each in terminal.json("list", "--business-key", "cli-found")["sagas"]] == [saga_id]
    shown = terminal.json("show", saga_id, "--log")
    assert (shown["business_key"], shown["log"][0]["event"]) == ("cli-found", "SagaStarted")
    table = terminal.run("list", "--business-key", "cli-found").stdout
    assert saga_id in table
    assert "reserve_inventory" in terminal.run("show", saga_id).stdout
    assert "inventory.ReserveItems" in terminal.run("tree", saga_id).stdout


def test_another_input_under_the_same_key_is_refused(terminal: Terminal) -> None:
    """Exit code 4, with the server's sentence."""
    terminal.started("cli-other")
    given = order("cli-other", amount_cents=1)
    done = terminal.run("start", "OrderFulfillment", "--input", json.dumps(given["input"]))
    assert done.exit_code == ExitCode.REFUSED, done.output


def test_what_is_not_there_or_makes_no_sense_is_told(terminal: Terminal) -> None:
    """3 for a saga that is not there, 2 for input that does not fit, with the place."""
    assert terminal.run("show", NOBODY).exit_code == ExitCode.NOT_FOUND
    done = terminal.run("start", "OrderFulfillment", "--input", '{"order_id": 7}')
    assert done.exit_code == ExitCode.USAGE
    assert "/input" in done.stderr
    assert terminal.run("list", "--status", "finished").exit_code == ExitCode.USAGE


def test_all_pages_are_walked_once(terminal: Terminal) -> None:
    """Whatever the size of a page, each saga comes once, newest first."""
    keys = [f"cli-page-{secrets.token_hex(3)}" for _ in range(5)]
    ids = [terminal.started(key) for key in keys]
    done = terminal.run("list", "--all", "-o", "jsonl")
    found = [json.loads(line)["id"] for line in done.stdout.splitlines()]
    assert [each for each in found if each in ids] == ids[::-1]
    assert len(set(found)) == len(found)
    assert len(terminal.run("list", "--limit", "2", "-o", "jsonl").stdout.splitlines()) == 2
    first = terminal.json("list", "--limit", "2")
    second = terminal.json("list", "--limit", "2", "--cursor", first["next_cursor"])
    assert [each["id"] for each in first["sagas"] + second["sagas"]] == found[:4]


def test_definitions_and_participants_are_those_of_the_server(terminal: Terminal) -> None:
    """With a server named, `saga definitions` lists what it knows."""
    names = {each["name"] for each in terminal.json("definitions")["definitions"]}
    assert {"OrderFulfillment", "BankTransfer", "TravelBooking"} <= names
    assert "OrderFulfillment" in terminal.run("definitions").stdout
    assert "payment" in {each["name"] for each in terminal.json("participants")["participants"]}


def test_a_saga_that_has_ended_ends_the_watch(terminal: Terminal) -> None:
    """Its log is told, and the exit code says how it ended."""
    saga_id = terminal.started("cli-ended")
    terminal.api.fetch(END, saga_id)
    done = terminal.run("watch", saga_id)
    assert done.exit_code == ExitCode.NO
    assert "SagaStarted" in done.stdout
    assert terminal.run("watch", NOBODY).exit_code == ExitCode.NOT_FOUND


def test_the_program_itself_works_from_a_configuration(terminal: Terminal, tmp_path: Path) -> None:
    """`saga context set`, then `saga list`, as processes of their own."""
    saga_id = terminal.started("cli-process")
    program = [sys.executable, "-m", "coordinator"]
    environment = {"SAGA_CONFIG": str(tmp_path / "config.toml"), "PATH": "/usr/bin"}
    key_file = tmp_path / "key"
    key_file.write_text(terminal.guarded.tokens["admin"] + "\n")
    key_file.chmod(0o600)
    given = ["context", "set", "here", "--server", terminal.api.url, "--key-file", str(key_file)]
    for words in (given, ["list", "-o", "jsonl"]):
        done = subprocess.run([*program, *words], env=environment, capture_output=True, text=True, check=True)
    assert saga_id in done.stdout


def test_what_happens_is_told_until_ctrl_c(terminal: Terminal) -> None:
    """`saga tail` as a process of its own tells a start within seconds, and ends with 130."""
    environment = {"SAGA_URL": terminal.api.url, "SAGA_KEY": terminal.guarded.tokens["viewer"], "PATH": "/usr/bin"}
    program = [sys.executable, "-m", "coordinator", "tail", "-o", "jsonl", "--definition", "OrderFulfillment"]
    tail = subprocess.Popen(program, env=environment, stdout=subprocess.PIPE, text=True)
    assert tail.stdout is not None
    heard = threading.Thread(target=lambda: told.append(json.loads(tail.stdout.readline())))  # type: ignore[union-attr]
    told: list[dict[str, str]] = []
    try:
        heard.start()
        for number in range(100):  # it is heard from when it has connected
            terminal.started(f"cli-tail-{number}-{secrets.token_hex(3)}")
            heard.join(0.5)
            if told:
                break
        assert told[0]["event"] == "SagaStarted"
        tail.send_signal(signal.SIGINT)
        assert tail.wait(20) == ExitCode.INTERRUPTED
    finally:
        tail.kill()
        tail.wait()
        tail.stdout.close()


def test_a_wait_for_the_end_has_an_end(terminal: Terminal) -> None:
    """No engine runs here: after the time that was given the code is 6, and the saga goes on."""
    given = order("cli-wait")
    words = ("start", "OrderFulfillment", "-i", json.dumps(given["input"]), "--wait", "--timeout", "2s")
    done = terminal.run(*words)
    assert done.exit_code == ExitCode.UNAVAILABLE, done.output
    assert "SagaStarted" in done.stdout
    assert "goes on: saga watch" in done.stderr


def test_json_is_what_the_api_said(terminal: Terminal) -> None:
    """Byte for byte."""
    saga_id = terminal.started("cli-exactly")
    for words, target in (
        (("show", saga_id), f"/v1/sagas/{saga_id}"),
        (("definitions",), "/v1/definitions"),
        (("incidents", "--limit", "2"), "/v1/incidents?state=open&limit=2"),
        (("whoami",), "/v1/whoami"),
        (("keys", "--limit", "1"), "/v1/keys?limit=1"),
    ):
        assert terminal.run(*words, "-o", "json").stdout == terminal.guarded.get(target).body.decode() + "\n", words


def test_a_shell_is_offered_what_the_server_knows(terminal: Terminal) -> None:
    """As a process of its own, with a key."""
    saga_id = terminal.started("cli-offered")
    base = {"SAGA_URL": terminal.api.url, "SAGA_KEY": terminal.guarded.tokens["viewer"], "PATH": "/usr/bin"}
    for line, offered in (("saga start Ord", "OrderFulfillment"), (f"saga show {saga_id[:-1]}", saga_id)):
        env = {**base, "_SAGA_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": "2"}
        done = subprocess.run(
            [sys.executable, "-m", "coordinator"], env=env, capture_output=True, text=True, check=True
        )
        assert offered in done.stdout.split()


def test_labels_are_given_and_found(terminal: Terminal) -> None:
    """A saga that was started with a label is found by it."""
    tier = secrets.token_hex(4)
    saga_id = terminal.started("cli-label", "--label", f"tier={tier}")
    assert [each["id"] for each in terminal.json("list", "--label", f"tier={tier}")["sagas"]] == [saga_id]


def test_everything_is_on_one_screen(terminal: Terminal) -> None:
    """Counts, participants and incidents are all there; a viewer sees them as well."""
    saga_id = terminal.started("cli-top")
    assert terminal.run("suspend", saga_id, "--reason", "r", "--yes").exit_code == 0
    terminal.api.fetch(statement("recount_tally"))  # other tests have suspended sagas behind the coordinator's back
    found = terminal.json("top")
    counted = {(each["definition"], each["status"]): each["count"] for each in found["counts"]}
    assert counted["OrderFulfillment", "suspended"] >= 1
    assert "payment" in {each["name"] for each in found["participants"]}
    screen = terminal.of("viewer").run("top")
    assert screen.exit_code == 0, screen.output
    assert "stuck (suspended)" in screen.stdout
    assert "open incidents" in screen.stdout
    assert "not shown" not in screen.stdout


def test_one_sees_who_one_is_and_what_was_done(terminal: Terminal) -> None:
    """The audit of a saga names the act and its reason."""
    assert terminal.json("whoami")["role"] == "admin"
    saga_id = terminal.suspended("cli-audit")
    words = ("retry", saga_id, "--reason", "it is back", "--yes", "--expected-version", "2")
    assert terminal.run(*words).exit_code == 0
    acts = terminal.json("audit", "--saga", saga_id)["acts"]
    assert [(each["action"], each["reason"], each["outcome"]) for each in acts] == [("retry", "it is back", "done")]


@pytest.mark.parametrize("words", [("incidents",), ("dlq",), ("keys",), ("bulk",), ("audit",)])
def test_every_list_is_there(terminal: Terminal, words: tuple[str, ...]) -> None:
    """In the shape for people and in that for programs."""
    assert terminal.run(*words).exit_code == 0
    page = terminal.json(*words)
    [listed] = [value for value in page.values() if isinstance(value, list)]
    assert (page["next_cursor"] is None) is (len(listed) < PAGE)
