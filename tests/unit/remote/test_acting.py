"""Verbs: the preview comes first, then the question, then one act under the version that was looked at."""

from __future__ import annotations

import json
from typing import Any

import pytest

from coordinator.exits import ExitCode
from tests.unit.remote.fake import SAGA_ID, Fake, problem, saga

RETRY = f"/v1/sagas/{SAGA_ID}/retry"


def preview(version: int = 3, **changes: Any) -> dict[str, Any]:
    return {
        "verb": "retry",
        "version": version,
        "status": "suspended",
        "next_status": "pending",
        "commands": [
            {"step": "pay", "participant": "payment", "command": "ProcessPayment", "command_id": "c", "attempt": 4,
             "payload": {"card": "4711"}}
        ],
        "to_be_undone": ["reserve"],
        "stays_done": ["notify"],
        "incidents": ["somebody must call the customer"],
        **changes,
    }  # fmt: skip


def test_a_preview_is_shown_and_confirmed_before_anything_is_done(fake: Fake) -> None:
    """What is sent, undone and cannot be undone is told; the act names the version, the reason and itself."""
    fake.says("POST", RETRY, preview())
    fake.says("POST", RETRY, saga("pending", 4), 202)
    done = fake.run("retry", SAGA_ID, "--reason", "payment is back", interactive=True, typed="y\n")
    assert done.exit_code == 0, done.output
    for words in ("sends ProcessPayment to payment for pay, attempt 4", "reserve", "notify", "call the customer"):
        assert words in done.stderr
    assert "is pending at version 4" in done.stdout
    looked, acted = fake.sent("POST", RETRY)
    assert looked.url.params["preview"] == "true"
    assert "if-match" not in looked.headers
    assert acted.headers["if-match"] == '"3"'
    assert len(acted.headers["idempotency-key"]) >= 20
    assert acted.headers["idempotency-key"] != looked.headers["idempotency-key"]
    assert json.loads(acted.content) == {"reason": "payment is back"}


def test_no_is_no(fake: Fake) -> None:
    """Who does not agree has done nothing, and a script sees it."""
    fake.says("POST", RETRY, preview())
    done = fake.run("retry", SAGA_ID, "--reason", "r", interactive=True, typed="n\n")
    assert done.exit_code == ExitCode.NO
    assert "nothing was done" in done.stderr
    assert len(fake.asked) == 1


def test_a_saga_that_moved_on_is_shown_and_asked_about_again(fake: Fake) -> None:
    """The second question is about the second preview, and the act names its version."""
    stale = problem(412, "the saga is at version 5, not at 3: look at it again", saga_status="suspended", version=5)
    fake.says("POST", RETRY, preview(3))
    fake.says("POST", RETRY, stale, 412)
    fake.says("POST", RETRY, preview(5))
    fake.says("POST", RETRY, saga("pending", 6), 202)
    done = fake.run("retry", SAGA_ID, "--reason", "r", interactive=True, typed="y\ny\n")
    assert done.exit_code == 0, done.output
    assert "the saga is at version 5, not at 3" in done.stderr
    assert [each.headers.get("if-match") for each in fake.asked] == [None, '"3"', None, '"5"']


def test_a_script_does_not_act_on_what_it_did_not_see(fake: Fake) -> None:
    """With --yes a saga that moved on ends with 4, and nothing is tried again."""
    fake.says("POST", RETRY, preview())
    fake.says("POST", RETRY, problem(412, "moved on"), 412)
    assert fake.run("retry", SAGA_ID, "--reason", "r", "--yes").exit_code == ExitCode.REFUSED
    assert len(fake.asked) == 2


def test_nobody_confirms_where_nobody_is(fake: Fake) -> None:
    """Without a terminal and without --yes nothing is done, with exit code 2."""
    fake.says("POST", RETRY, preview())
    done = fake.run("retry", SAGA_ID, "--reason", "r")
    assert done.exit_code == ExitCode.USAGE
    assert "--yes" in done.stderr
    assert [each.url.params.get("preview") for each in fake.asked] == ["true"]


def test_a_reason_is_asked_for_and_must_say_something(fake: Fake) -> None:
    """A person is asked; a script is told; blanks are no reason."""
    fake.says("POST", RETRY, preview())
    fake.says("POST", RETRY, saga("pending", 4), 202)
    assert fake.run("retry", SAGA_ID, interactive=True, typed="because\ny\n").exit_code == 0
    assert fake.bodies("POST", RETRY)[1] == {"reason": "because"}
    for words in (("--yes",), ("--yes", "--reason", "  ")):
        done = fake.run("retry", SAGA_ID, *words)
        assert (done.exit_code, len(fake.asked)) == (ExitCode.USAGE, 2)
        assert "--reason" in done.stderr


def test_a_preview_alone_needs_no_reason(fake: Fake) -> None:
    """--preview shows what would happen, as a program may read it, too."""
    fake.says("POST", RETRY, preview())
    assert "undoes, one after the other: reserve" in fake.run("retry", SAGA_ID, "--preview").stdout
    assert json.loads(fake.run("retry", SAGA_ID, "--preview", "-o", "json").stdout) == preview()
    assert all(each.url.params["preview"] == "true" for each in fake.asked)
    assert "4711" not in fake.run("retry", SAGA_ID, "--preview").stdout


def test_a_script_may_name_the_version_that_it_saw(fake: Fake) -> None:
    """One request, no preview; it needs --yes, so that nobody skips the preview by a slip."""
    fake.says("POST", RETRY, saga("pending", 8), 202)
    words = ("retry", SAGA_ID, "--reason", "r", "--expected-version", "7")
    assert fake.run(*words).exit_code == ExitCode.USAGE
    assert fake.run(*words, "--yes").exit_code == 0
    assert [each.headers.get("if-match") for each in fake.asked] == ['"7"']


@pytest.mark.parametrize(
    ("words", "body"),
    [
        (("retry", "--step", "pay"), {"step": "pay"}),
        (("retry", "--step", "pay", "--payload", '{"a": 1}'), {"step": "pay", "payload": {"a": 1}}),
        (("skip", "--step", "pay"), {"step": "pay"}),
        (("resolve", "--step", "pay", "--resolution", "failed"), {"step": "pay", "resolution": "failed"}),
        (
            ("resolve", "--step", "pay", "--resolution", "completed", "--result", '{"id": 1}'),
            {"step": "pay", "resolution": "completed", "result": {"id": 1}},
        ),
        (("compensate",), {}),
        (("suspend",), {}),
        (("resume",), {}),
        (("abandon",), {}),
        (("replay",), {}),
    ],
)
def test_every_verb_says_what_it_means(fake: Fake, words: tuple[str, ...], body: dict[str, Any]) -> None:
    """The preview and the act have the same body; -o json gives the saga as the server said it."""
    path = f"/v1/sagas/{SAGA_ID}/{words[0]}"
    fake.says("POST", path, preview())
    fake.says("POST", path, saga("pending", 4), 202)
    done = fake.run(words[0], SAGA_ID, *words[1:], "--reason", "r", "--yes", "-o", "json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == saga("pending", 4)
    assert fake.bodies("POST", path) == [{**body, "reason": "r"}] * 2


@pytest.mark.parametrize(
    "words", [("skip",), ("resolve", "--step", "s"), ("resolve", "--step", "s", "--resolution", "x")]
)
def test_a_verb_that_lacks_something_is_not_sent(fake: Fake, words: tuple[str, ...]) -> None:
    """Exit code 2, and the server hears nothing."""
    done = fake.run(words[0], SAGA_ID, *words[1:], "--reason", "r", "--yes")
    assert (done.exit_code, fake.asked) == (ExitCode.USAGE, [])


def test_an_id_is_no_path(fake: Fake) -> None:
    """Whatever stands where an id should stand reaches the server as one part of a path, or not at all."""
    done = fake.run("show", "../definitions?x=1#y")
    assert done.exit_code == ExitCode.NOT_FOUND
    assert fake.asked[0].url.raw_path == b"/v1/sagas/..%2Fdefinitions%3Fx%3D1%23y"
