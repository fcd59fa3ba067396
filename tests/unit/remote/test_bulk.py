"""Bulk work: counted and confirmed before it begins, followed to its end, steered while it runs."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from coordinator.exits import ExitCode
from coordinator.remote import bulk
from tests.unit.remote.fake import Fake, problem

ALL = "/v1/batch-operations"
ONE = f"{ALL}/b-1"


def counted(count: int = 12, confirmation: str = "token-1") -> dict[str, Any]:
    sample = [{"id": "saga-1", "definition": "Trip", "business_key": "t-1", "status": "suspended"}] if count else []
    return {"count": count, "sample": sample, "confirmation": confirmation, "expires_at": "2026-05-01T10:00:00.000Z"}


def operation(state: str = "running", **counts: int) -> dict[str, Any]:
    whole = {"total": 12, "done": 0, "refused": 0, "failed": 0, "left": 12, **counts}
    return {"id": "b-1", "verb": "retry", "state": state, "counts": whole, "reason": "r", "actor": "ann"}


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look again without a pause."""
    monkeypatch.setattr(bulk, "POLL_S", 0.0)
    monkeypatch.setattr(bulk, "AGAIN_S", 0.0)


RETRY = ("bulk", "retry", "--status", "suspended", "--definition", "Trip", "--rate", "5", "--reason", "r")


def test_work_is_counted_confirmed_and_followed_to_its_end(fake: Fake) -> None:
    """The question names the count; what is confirmed is what was counted; all done ends with 0."""
    fake.says("POST", ALL, counted())
    fake.says("POST", ALL, operation(), 202)
    fake.says("GET", ONE, operation(done=5, left=7))
    fake.says("GET", ONE, operation("done", done=12, left=0))
    done = fake.run(*RETRY, interactive=True, typed="y\n")
    assert done.exit_code == 0, done.output
    assert "Retry 12 sagas?" in done.output
    assert "saga-1" in done.stderr
    body = {"verb": "retry", "filter": {"status": ["suspended"], "definition": "Trip"}, "rate": 5, "reason": "r"}
    assert fake.bodies("POST", ALL) == [
        {**body, "dry_run": True},
        {**body, "dry_run": False, "confirmation": "token-1"},
    ]


def test_a_dry_run_counts_and_does_nothing(fake: Fake) -> None:
    """It needs neither a reason nor an answer, and says the same as the question does."""
    fake.says("POST", ALL, counted())
    done = fake.run("bulk", "retry", "--status", "suspended", "--dry-run")
    assert "retry would be done to 12 sagas, such as:" in done.stderr
    assert "saga-1" in done.stdout
    assert "token-1" not in done.output
    assert [body["dry_run"] for body in fake.bodies("POST", ALL)] == [True]


def test_where_nothing_fits_nothing_is_asked(fake: Fake) -> None:
    """Exit code 0: there is nothing to do."""
    fake.says("POST", ALL, counted(0))
    done = fake.run(*RETRY, interactive=True)
    assert (done.exit_code, len(fake.asked)) == (0, 1)
    assert "nothing to do" in done.stderr


def test_no_and_nobody_begin_nothing(fake: Fake) -> None:
    """Who says no ends with 1, who is not there with 2."""
    fake.says("POST", ALL, counted())
    assert fake.run(*RETRY, interactive=True, typed="n\n").exit_code == ExitCode.NO
    assert fake.run(*RETRY).exit_code == ExitCode.USAGE
    assert [body["dry_run"] for body in fake.bodies("POST", ALL)] == [True, True]


def test_sagas_that_changed_are_counted_again(fake: Fake) -> None:
    """A confirmation that is not good any more leads to another question; a script ends with 4."""
    fake.says("POST", ALL, counted(12, "old"))
    fake.says("POST", ALL, problem(409, "the filter finds 15 sagas now, not 12"), 409)
    fake.says("POST", ALL, counted(15, "new"))
    fake.says("POST", ALL, operation(), 202)
    done = fake.run(*RETRY, "--no-wait", interactive=True, typed="y\ny\n")
    assert done.exit_code == 0, done.output
    assert "Retry 15 sagas?" in done.output
    assert fake.bodies("POST", ALL)[-1]["confirmation"] == "new"
    other = Fake()
    other.says("POST", ALL, counted())
    other.says("POST", ALL, problem(409, "changed"), 409)
    assert other.run(*RETRY, "--yes").exit_code == ExitCode.REFUSED
    assert len(other.asked) == 2


@pytest.mark.parametrize(
    "ended",
    [operation("done", done=11, refused=1, left=0), operation("cancelled", done=1), operation("done", failed=1)],
)
def test_work_that_was_not_all_done_ends_with_1(fake: Fake, ended: dict[str, Any]) -> None:
    """And says how to see what was not."""
    fake.says("POST", ALL, counted())
    fake.says("POST", ALL, operation(), 202)
    fake.says("GET", ONE, ended)
    done = fake.run(*RETRY, "--yes")
    assert done.exit_code == ExitCode.NO
    assert "saga bulk items b-1" in done.stderr


def test_a_server_that_is_away_does_not_end_the_following(fake: Fake) -> None:
    """The work goes on there when it is back, so the person goes on looking."""
    fake.says("POST", ALL, counted())
    fake.says("POST", ALL, operation(), 202)
    fake.says("GET", ONE, problem(503, "away"), 503)
    fake.says("GET", ONE, operation("done", done=12, left=0))
    assert fake.run(*RETRY, "--yes").exit_code == 0


def test_a_bar_shows_how_far_it_is(fake: Fake) -> None:
    """On a terminal, beside the answer."""
    fake.says("POST", ALL, counted())
    fake.says("POST", ALL, operation(), 202)
    fake.says("GET", ONE, operation(done=5, failed=1, left=6))
    fake.says("GET", ONE, operation("done", done=11, failed=1, left=0))
    done = fake.run(*RETRY, "--yes", "-o", "json", env={"FORCE_COLOR": "1", "TERM": "xterm"})
    assert "1 failed" in done.stderr
    assert "/12" in done.stderr
    assert "/12" not in done.stdout


def test_ctrl_c_leaves_the_work_running(fake: Fake) -> None:
    """And says how to look at it, and how to end it."""

    def interrupted(request: httpx2.Request) -> httpx2.Response:
        raise KeyboardInterrupt

    fake.says("POST", ALL, counted())
    fake.says("POST", ALL, operation(), 202)
    fake.says("GET", ONE, interrupted)
    done = fake.run(*RETRY, "--yes")
    assert done.exit_code == ExitCode.INTERRUPTED
    assert "saga bulk show b-1 --follow" in done.stderr
    assert "saga bulk cancel b-1" in done.stderr
    assert not fake.sent("POST", f"{ONE}/cancel")


@pytest.mark.parametrize(
    ("words", "body"),
    [
        (("skip", "--step", "pay"), {"verb": "skip", "step": "pay", "filter": {"step": "pay"}}),
        (
            ("resolve", "--resolution", "undone", "--verb-step", "pay", "--status", "suspended"),
            {"verb": "resolve", "step": "pay", "resolution": "undone", "filter": {"status": ["suspended"]}},
        ),
        (("resume", "--status", "suspended"), {"verb": "resume", "filter": {"status": ["suspended"]}}),
        (("abandon", "--label", "tier=gold"), {"verb": "abandon", "filter": {"label": ["tier:gold"]}}),
    ],
)
def test_every_verb_says_what_it_means(fake: Fake, words: tuple[str, ...], body: dict[str, Any]) -> None:
    """The filter and the verb's own members, in the count and in the work."""
    fake.says("POST", ALL, counted())
    fake.says("POST", ALL, operation(), 202)
    assert fake.run("bulk", *words, "--reason", "r", "--yes", "--no-wait").exit_code == 0
    assert fake.bodies("POST", ALL)[0] == {**body, "reason": "r", "dry_run": True}


@pytest.mark.parametrize("word", ["pause", "resume", "cancel"])
def test_work_is_steered_by_its_id(fake: Fake, word: str) -> None:
    """With a reason, as everything that is recorded."""
    fake.says("POST", f"{ONE}/{word}", operation("paused"))
    assert "paused" in fake.run("bulk", word, "b-1", "--reason", "lunch").stdout
    assert fake.bodies("POST", f"{ONE}/{word}") == [{"reason": "lunch"}]


def test_work_can_be_taken_up_by_looking(fake: Fake) -> None:
    """--follow goes on to the end; without it, it is shown as it stands."""
    fake.says("GET", ONE, operation(done=5, left=7))
    assert "running" in fake.run("bulk", "show", "b-1").stdout
    fake.says("GET", ONE, operation("done", done=12, left=0))
    assert "done" in fake.run("bulk", "show", "b-1", "--follow").stdout
