"""How commands end: one code for each kind of answer, one sentence for the person, nothing of the key."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest

from coordinator.exits import MEANINGS, ExitCode
from tests.unit.remote.fake import SAGA_ID, Fake, problem

SHOW = f"/v1/sagas/{SAGA_ID}"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, ExitCode.USAGE),
        (401, ExitCode.FORBIDDEN),
        (403, ExitCode.FORBIDDEN),
        (404, ExitCode.NOT_FOUND),
        (405, ExitCode.USAGE),
        (409, ExitCode.REFUSED),
        (412, ExitCode.REFUSED),
        (422, ExitCode.USAGE),
        (429, ExitCode.RATE_LIMITED),
        (500, ExitCode.FAILED),
        (502, ExitCode.UNAVAILABLE),
        (503, ExitCode.UNAVAILABLE),
    ],
)
def test_each_kind_of_refusal_has_its_code(fake: Fake, status: int, code: ExitCode) -> None:
    """The problem's sentence is told on standard error; standard output stays empty for whoever pipes it."""
    fake.says("GET", SHOW, problem(status, "a sentence about it"), status, **{"retry-after": "3"})
    done = fake.run("show", SAGA_ID)
    assert (done.exit_code, done.stdout) == (code, "")
    assert done.stderr.startswith("saga: a sentence about it")
    assert "ask again in 3 s" in done.stderr
    assert "key-of-tests" not in done.output


def test_what_is_wrong_and_where_is_told(fake: Fake) -> None:
    """Every fault of a request with its place."""
    errors = [{"detail": "too long", "pointer": "/input/name"}, {"detail": "unknown", "parameter": "colour"}]
    fake.says("GET", SHOW, problem(422, "the request is wrong", errors=errors), 422)
    assert "the request is wrong; /input/name: too long; colour: unknown" in fake.run("show", SAGA_ID).stderr


def test_a_fault_of_theirs_names_the_request(fake: Fake) -> None:
    """Who runs the server finds it in its log."""
    fake.says("GET", SHOW, problem(500, "something went wrong here"), 500)
    assert "(request r-1)" in fake.run("show", SAGA_ID).stderr


@pytest.mark.parametrize("text", ["<html>bad gateway</html>", "[]", '{"detail": 7}', ""])
def test_an_answer_without_a_problem_is_no_riddle(fake: Fake, text: str) -> None:
    """A proxy's page is not shown; what was asked and what status came is."""
    fake.says("GET", SHOW, lambda request: httpx2.Response(502, text=text, request=request))
    done = fake.run("show", SAGA_ID)
    assert done.exit_code == ExitCode.UNAVAILABLE
    assert f"answers GET {SHOW} with 502, and does not say why" in done.stderr


def test_something_that_is_no_coordinator_is_noticed(fake: Fake) -> None:
    """A page of HTML with 200, or a list without its items, ends with 8."""
    fake.says("GET", "/v1/sagas", lambda request: httpx2.Response(200, text="<html>", request=request))
    fake.says("GET", "/v1/sagas", {"things": []})
    for _ in range(2):
        done = fake.run("list")
        assert done.exit_code == ExitCode.FAILED
        assert "is it a coordinator" in done.stderr


@pytest.mark.parametrize("words", [("retry", SAGA_ID, "--reason", "r", "--yes"), ("watch", SAGA_ID)])
def test_an_answer_of_another_version_is_no_traceback(fake: Fake, words: tuple[str, ...]) -> None:
    """What lacks a member ends with 8 and a sentence: 1 would be an answer."""
    fake.says("POST", f"{SHOW}/retry", {})
    fake.says("GET", SHOW, {"id": SAGA_ID})
    done = fake.run(*words)
    assert done.exit_code == ExitCode.FAILED, done.output
    assert "is the server of this version?" in done.stderr


def test_a_redirect_is_not_followed(fake: Fake) -> None:
    """A key goes to the server that was named, and to no other."""
    moved = {"location": "http://elsewhere.example/v1/sagas"}
    fake.says("GET", "/v1/sagas", lambda request: httpx2.Response(302, headers=moved, request=request))
    assert fake.run("list").exit_code == ExitCode.FAILED
    assert [each.url.host for each in fake.asked] == ["127.0.0.1"]


def _raising(error: httpx2.TransportError) -> Fake:
    fake = Fake()

    def broken(request: httpx2.Request) -> httpx2.Response:
        raise error

    fake.says("GET", SHOW, broken)
    fake.says("POST", "/v1/sagas", broken)
    return fake


def test_no_connection_says_who_named_the_server() -> None:
    """Exit code 6; nobody wonders for long where the address came from."""
    done = _raising(httpx2.ConnectError("refused")).run("show", SAGA_ID)
    assert done.exit_code == ExitCode.UNAVAILABLE
    assert "no answer from http://127.0.0.1:9 (named by SAGA_URL): refused" in done.stderr


def test_a_lost_answer_to_an_act_is_told_as_what_it_is() -> None:
    """It may have happened; it is not sent again by itself. Where nothing was sent, that is not said."""
    for error, said in ((httpx2.ReadTimeout("slow"), True), (httpx2.ConnectError("refused"), False)):
        fake = _raising(error)
        done = fake.run("start", "Trip", "--input", "{}")
        assert done.exit_code == ExitCode.UNAVAILABLE
        assert ("it may have happened" in done.stderr) is said
        assert len(fake.asked) == 1


def test_ctrl_c_ends_with_130(fake: Fake) -> None:
    """As shells expect it."""

    def interrupted(request: httpx2.Request) -> httpx2.Response:
        raise KeyboardInterrupt

    fake.says("GET", SHOW, interrupted)
    assert fake.run("show", SAGA_ID).exit_code == ExitCode.INTERRUPTED


def test_the_codes_are_documented(fake: Fake) -> None:
    """In `saga --help`, and in docs/cli.md with the same words."""
    text = (Path(__file__).parents[3] / "docs" / "cli.md").read_text()
    helped = " ".join(fake.run("--help", env={"COLUMNS": "400"}).stdout.split())
    for code in ExitCode:
        assert f"| {code.value} | {MEANINGS[code]} |" in text
        assert f"{code.value} {MEANINGS[code]}" in helped


@pytest.mark.parametrize(
    "words",
    [
        ("lst",),
        ("list", "--colour"),
        ("list", "-o", "xml"),
        ("list", "--limit", "0"),
        ("list", "--label", "gold"),
        ("list", "--since", "yesterday"),
        ("list", "--url", "http://127.0.0.1:9", "--context", "prod"),
        ("start", "Trip"),
        ("start", "Trip", "--input", "{"),
        ("start", "Trip", "--input", "/nowhere/at/all.json"),
        ("start", "Trip", "--input", '{"amount": NaN}'),
        ("start", "Trip", "--input", '{"amount": 1, "amount": 2}'),
        ("bulk", "retry", "--reason", "r", "--yes"),
        ("retry", "x", "--payload", "{}", "--reason", "r"),
        ("incidents", "assign", "i-1"),
        ("incidents", "assign", "i-1", "--to", "ann", "--nobody"),
        ("bulk", "skip", "--status", "suspended", "--reason", "r", "--yes"),
        ("bulk", "resume", "b-1", "--status", "suspended", "--reason", "r"),
        ("dlq", "redrive", "7", "--edit", "--value", "x", "--yes", "--reason", "r"),
        ("context", "set", "a b", "--server", "https://x.example"),
        ("context", "set", "new"),
    ],
)
def test_what_is_asked_wrongly_reaches_nobody(fake: Fake, words: tuple[str, ...]) -> None:
    """Exit code 2 with a sentence, before anything is sent."""
    done = fake.run(*words)
    assert (done.exit_code, fake.asked) == (ExitCode.USAGE, []), done.output
    assert done.stderr


def test_where_nobody_answers_one_is_told_what_to_look_at(fake: Fake) -> None:
    """Which server was asked, who named it, and how to find another."""

    def away(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("[Errno 111] Connection refused")

    fake.says("GET", SHOW, away)
    done = fake.run("show", SAGA_ID)
    assert done.exit_code == ExitCode.UNAVAILABLE
    for words in ("http://127.0.0.1:9", "named by SAGA_URL", "is it running?", "saga context list"):
        assert words in done.stderr
