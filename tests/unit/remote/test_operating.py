"""Incidents, dead letters, keys and the screen of everything."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest

from coordinator.exits import ExitCode
from tests.unit.remote.fake import Fake, problem

LETTER = "/v1/dead-letters/7"


@pytest.mark.parametrize(
    ("words", "path", "body"),
    [
        (("assign", "i-1", "--to", "ann"), "assign", {"assignee": "ann"}),
        (("assign", "i-1", "--to", "ann", "--reason", "on call"), "assign", {"assignee": "ann", "reason": "on call"}),
        (("assign", "i-1", "--nobody"), "assign", {"assignee": None}),
        (("note", "i-1", "the bank was down"), "notes", {"text": "the bank was down"}),
        (("resolve", "i-1", "--reason", "paid by hand"), "resolve", {"reason": "paid by hand"}),
    ],
)
def test_an_incident_is_taken_noted_and_resolved(
    fake: Fake, words: tuple[str, ...], path: str, body: dict[str, Any]
) -> None:
    """Each is one request, and its answer is shown."""
    fake.says("POST", f"/v1/incidents/i-1/{path}", {"id": "i-1", "reason": "late", "notes": [{"text": "n"}]})
    done = fake.run("incidents", *words)
    assert (done.exit_code, "late" in done.stdout) == (0, True)
    assert fake.bodies("POST", f"/v1/incidents/i-1/{path}") == [body]


def letter(**changes: Any) -> dict[str, Any]:
    value = {"size": 15, "kept": 15, "text": '{"amount":"12"}'}
    return {"id": 7, "state": "open", "record": {"key": None, "value": value, "headers": []}, **changes}


def test_incidents_that_are_over_show_since_when_and_by_whom(fake: Fake) -> None:
    """Where not only the open ones are listed, one sees which are which."""
    over = {"id": "i-1", "resolved_at": "2026-05-01T10:00:00.000Z", "resolved_by": "key:bea"}
    fake.says("GET", "/v1/incidents", {"incidents": [over], "next_cursor": None})
    assert "RESOLVED" not in fake.run("incidents", "list").stdout
    assert "2026-05-01 10:00:00  key:bea" in fake.run("incidents", "list", "--state", "all").stdout


def test_a_letter_is_sent_again_as_it_came(fake: Fake) -> None:
    """Nothing but the reason is sent."""
    fake.says("POST", f"{LETTER}/redrive", letter(state="redriven"), 202)
    assert "redriven" in fake.run("dlq", "redrive", "7", "--reason", "mended", "--yes").stdout
    assert fake.bodies("POST", f"{LETTER}/redrive") == [{"reason": "mended"}]
    assert fake.run("dlq", "redrive", "7", "--reason", "r").exit_code == ExitCode.USAGE
    assert fake.run("dlq", "redrive", "7", interactive=True, typed="n\n").exit_code == ExitCode.NO
    assert len(fake.asked) == 1


def editor(tmp_path: Path, code: str) -> dict[str, str]:
    program = tmp_path / "editor.py"
    program.write_text(f"import sys, pathlib\nfile = pathlib.Path(sys.argv[1])\ntext = file.read_text()\n{code}\n")
    return {"VISUAL": "", "EDITOR": f"{sys.executable} {program}"}


@pytest.mark.parametrize("edited_before", [False, True])
def test_a_letter_is_edited_in_the_persons_editor(fake: Fake, tmp_path: Path, edited_before: bool) -> None:
    """What would be sent now stands there for reading; what is saved is sent, for the letter that was looked at."""
    shown = letter()
    if edited_before:
        shown |= {"edited_record": shown["record"], "record": {"value": {"text": "older"}}}
    fake.says("GET", LETTER, shown, 200, etag='"e-1"')
    fake.says("POST", f"{LETTER}/redrive", letter(state="redriven"), 202)
    env = editor(tmp_path, 'assert \'"amount": "12"\' in text; file.write_text(\'{"amount":12}\')')
    words = ("dlq", "redrive", "7", "--edit", "--new-identity", "--reason", "r", "--yes")
    done = fake.run(*words, env=env)
    assert done.exit_code == 0, done.output
    assert fake.bodies("POST", f"{LETTER}/redrive") == [{"value": '{"amount":12}', "new_identity": True, "reason": "r"}]
    assert fake.asked[-1].headers["if-match"] == '"e-1"'


def test_an_edit_that_changes_nothing_does_nothing(fake: Fake, tmp_path: Path) -> None:
    """Closing the editor is a way out; an editor that fails is one, too."""
    fake.says("GET", LETTER, letter())
    words = ("dlq", "redrive", "7", "--edit", "--reason", "r", "--yes")
    assert fake.run(*words, env=editor(tmp_path, "pass")).exit_code == 0
    assert fake.run(*words, env=editor(tmp_path, "raise SystemExit(1)")).exit_code == ExitCode.USAGE
    assert not fake.sent("POST", f"{LETTER}/redrive")


@pytest.mark.parametrize(
    ("value", "word"),
    [({"base64": "/wA="}, "--value"), ({"text": "{}", "masked": True}, "may not see"), (None, "--value")],
)
def test_what_cannot_be_seen_is_not_edited(fake: Fake, value: Any, word: str) -> None:
    """Binary and masked values are not spoiled in an editor."""
    fake.says("GET", LETTER, letter(record={"value": value}))
    done = fake.run("dlq", "redrive", "7", "--edit", "--reason", "r", "--yes")
    assert done.exit_code == ExitCode.USAGE
    assert word in done.stderr


def test_another_value_and_headers_come_from_files(fake: Fake, tmp_path: Path) -> None:
    """The value as it stands in the file, byte for byte; headers as JSON."""
    (tmp_path / "value").write_text('{"a":1}\n')
    fake.says("POST", f"{LETTER}/redrive", letter(), 202)
    words = ("--value", str(tmp_path / "value"), "--headers", '{"ce_type": "X"}', "--reason", "r", "--yes")
    assert fake.run("dlq", "redrive", "7", *words).exit_code == 0
    body = {"value": '{"a":1}\n', "headers": {"ce_type": "X"}, "reason": "r"}
    assert fake.bodies("POST", f"{LETTER}/redrive") == [body]


def test_a_letter_is_discarded_and_shown(fake: Fake) -> None:
    """Discarding is asked about, too."""
    fake.says("POST", f"{LETTER}/discard", letter(state="discarded"))
    fake.says("GET", LETTER, letter(detail="odd \x1b[31m"))
    assert fake.run("dlq", "discard", "7", "--reason", "r").exit_code == ExitCode.USAGE
    assert "discarded" in fake.run("dlq", "discard", "7", interactive=True, typed="y\nold\n").stdout
    assert fake.bodies("POST", f"{LETTER}/discard") == [{"reason": "old"}]
    shown = fake.run("dlq", "show", "7").stdout
    assert "amount" in shown
    assert "\x1b" not in shown


def test_a_new_key_stands_alone_on_standard_output(fake: Fake) -> None:
    """So that it can be piped to where it belongs; what else is known of it goes beside."""
    fake.says("POST", "/v1/keys", {"id": "k-1", "name": "ci", "role": "service", "secret": "saga_abc"}, 201)
    done = fake.run("keys", "create", "ci", "--role", "service", "--definition", "Trip", "--expires", "90d")
    assert done.stdout == "saga_abc\n"
    assert "saga_abc" not in done.stderr
    assert "k-1" in done.stderr
    body = fake.bodies("POST", "/v1/keys")[0]
    assert (body["name"], body["role"], body["definitions"]) == ("ci", "service", ["Trip"])
    assert body["expires_at"].endswith("Z")


def test_a_key_is_revoked_after_a_question(fake: Fake) -> None:
    """Whoever uses it is locked out at once, so that is said."""
    fake.says("POST", "/v1/keys/k-1/revoke", {"id": "k-1"})
    done = fake.run("keys", "revoke", "k-1", interactive=True, typed="y\nleaked\n")
    assert done.exit_code == 0, done.output
    assert "locked out" in done.output
    assert fake.bodies("POST", "/v1/keys/k-1/revoke") == [{"reason": "leaked"}]


def test_everything_is_on_one_screen(fake: Fake) -> None:
    """Counts by definition and status, participants, open incidents; a part that one may not see is told as such."""
    counts = [{"definition": "Trip", "status": "suspended", "count": 3}]
    fake.says("GET", "/v1/sagas/counts", {"counts": counts, "total": 3})
    fake.says("GET", "/v1/participants", problem(403, "no"), 403)
    fake.says("GET", "/v1/incidents", {"incidents": [{"saga_id": "s", "reason": "late"}], "next_cursor": None})
    text = fake.run("top").stdout
    assert "Trip" in text
    assert "late" in text
    assert "may not see it" in text
    assert "0 in progress, 0 scheduled, 3 stuck (suspended), 1 open incidents" in text
    found = json.loads(fake.run("top", "-o", "json").stdout)
    assert (found["counts"], found["participants"], len(found["incidents"])) == (counts, None, 1)


def test_the_screen_is_looked_at_again_until_ctrl_c(fake: Fake) -> None:
    """On a terminal; a server that is away for a moment leaves the last picture, and says so."""
    counts = {"counts": [{"definition": "Trip", "status": "pending", "count": 3}], "total": 3}

    def interrupted(request: httpx2.Request) -> httpx2.Response:
        raise KeyboardInterrupt

    fake.says("GET", "/v1/sagas/counts", counts)
    fake.says("GET", "/v1/sagas/counts", problem(503, "away for a moment"), 503)
    fake.says("GET", "/v1/sagas/counts", interrupted)
    done = fake.run("top", "--every", "0.5", env={"FORCE_COLOR": "1", "TERM": "xterm", "LINES": "40"})
    assert done.exit_code == ExitCode.INTERRUPTED
    assert "Trip" in done.stdout
    assert "away for a moment" in done.stdout
    assert len(fake.sent("GET", "/v1/sagas/counts")) == 3


@pytest.mark.parametrize(
    ("env", "coloured"), [({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False)]
)
def test_colours_are_left_out_where_they_are_not_wanted(fake: Fake, env: dict[str, str], coloured: bool) -> None:
    """NO_COLOR is heeded on a terminal, too."""
    fake.says("GET", "/v1/incidents", {"incidents": [{"id": "i", "state": "open", "reason": "open"}]})
    text = fake.run("incidents", env={"TERM": "xterm", **env}).stdout
    assert ("\x1b[1;31m" in text) is coloured
