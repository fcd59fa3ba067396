"""Starting and following: nothing is told twice or left out, however often the stream breaks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from coordinator.exits import ExitCode
from coordinator.remote import following
from coordinator.remote.client import read_events
from tests.unit.remote.fake import SAGA_ID, Fake, problem, saga, stream

ONE = f"/v1/sagas/{SAGA_ID}"
EVENTS, LOG = f"{ONE}/events", f"{ONE}/log"


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look again without a pause."""
    for name in ("POLL_S", "AGAIN_S", "AGAIN_MAX_S"):
        monkeypatch.setattr(following, name, 0.0)


class Story:
    """A saga that is one transition further each time that it is looked at, up to its end."""

    def __init__(self, fake: Fake, *statuses: str) -> None:
        self._statuses = statuses
        self._at = 0
        fake.says("GET", ONE, self._shown)
        fake.says("GET", LOG, self._logged)

    def _shown(self, request: httpx2.Request) -> httpx2.Response:
        self._at = min(self._at + 1, len(self._statuses))
        return httpx2.Response(200, json=saga(self._statuses[self._at - 1], self._at), request=request)

    def _logged(self, request: httpx2.Request) -> httpx2.Response:
        after = int(request.url.params["after"])
        entries = [
            {"version": number + 1, "at": "2026-05-01T10:00:00.000Z", "event": f"Event{number + 1}", "status": status}
            for number, status in enumerate(self._statuses[: self._at])
            if number >= after
        ]
        return httpx2.Response(200, json={"entries": entries, "next_after": None}, request=request)


def told(text: str) -> list[int]:
    return [json.loads(line)["version"] for line in text.splitlines()]


def test_a_saga_is_followed_by_its_stream(fake: Fake) -> None:
    """Each transition once, in order; completed ends with 0."""
    Story(fake, "started", "pending", "completed")
    fake.says("GET", EVENTS, stream(("1", {}), ("2", {}), ("3", {})))
    done = fake.run("watch", SAGA_ID, "-o", "jsonl")
    assert (done.exit_code, told(done.stdout)) == (0, [1, 2, 3])


def test_a_stream_that_breaks_is_taken_up_where_it_broke(fake: Fake) -> None:
    """The next request names the last event that was seen; nothing is told twice."""
    Story(fake, "started", "pending", "pending", "pending", "failed")

    def away(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ReadTimeout("silent")

    fake.says("GET", EVENTS, stream(("7", {})))
    fake.says("GET", EVENTS, away)
    fake.says("GET", EVENTS, stream(("9", {})))
    done = fake.run("watch", SAGA_ID, "-o", "jsonl")
    assert (done.exit_code, told(done.stdout)) == (ExitCode.NO, [1, 2, 3, 4, 5])
    assert [each.headers.get("last-event-id") for each in fake.sent("GET", EVENTS)][:3] == [None, "7", "7"]


def test_without_a_stream_the_saga_is_looked_at(fake: Fake) -> None:
    """A server that has no streams, or gives this one no more of them, is polled."""
    Story(fake, "started", "suspended", "abandoned")
    fake.says("GET", EVENTS, problem(429, "too many streams"), 429)
    done = fake.run("watch", SAGA_ID)
    assert done.exit_code == ExitCode.NO
    assert [word in done.stdout for word in ("Event1", "Event2", "Event3", "abandoned")] == [True] * 4
    assert len(fake.sent("GET", EVENTS)) == 1


def beats(count: int) -> Any:
    """A stream that lives and says nothing."""

    def said(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, text=": alive\n\n" * count, headers={"content-type": "text/event-stream"})

    return said


def test_an_event_that_the_stream_lost_holds_nobody_up(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the stream only shows that it lives the saga is looked at now and then: it has moved on, and ended."""
    monkeypatch.setattr(following, "LOOK_S", 0.0)
    Story(fake, "started", "pending", "completed")
    fake.says("GET", EVENTS, beats(1_000))
    done = fake.run("watch", SAGA_ID, "-o", "jsonl")
    assert (done.exit_code, told(done.stdout)) == (0, [1, 2, 3])
    assert len(fake.sent("GET", EVENTS)) == 1


def test_a_stream_that_lives_is_not_looked_behind_at_every_beat(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Signs of life alone cost the server nothing but one look now and then."""
    monkeypatch.setattr(following, "LOOK_S", 3600.0)
    Story(fake, "started", "pending", "completed")
    fake.says("GET", EVENTS, beats(1_000))
    assert fake.run("watch", SAGA_ID).exit_code == 0
    assert len(fake.sent("GET", ONE)) == 3


@pytest.mark.parametrize("way", ["stream", "polling", "beats"])
def test_nobody_waits_longer_than_they_said(fake: Fake, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 6, with how it stands and how to go on."""
    ticks = iter(range(10_000))
    monkeypatch.setattr("time.monotonic", lambda: float(next(ticks)))
    Story(fake, "started", "pending")
    said = {"stream": stream(("1", {})), "polling": problem(404, "no streams here"), "beats": beats(100)}[way]
    fake.says("GET", EVENTS, said, 404 if way == "polling" else 200)
    done = fake.run("watch", SAGA_ID, "--timeout", "1m")
    assert done.exit_code == ExitCode.UNAVAILABLE
    assert f"still pending after 60 s, and goes on: saga watch {SAGA_ID}" in done.stderr


@pytest.mark.parametrize(
    "words", [("watch", SAGA_ID, "--timeout", "soon"), ("start", "T", "-i", "{}", "--timeout", "5s")]
)
def test_a_limit_that_makes_no_sense_is_refused(fake: Fake, words: tuple[str, ...]) -> None:
    """A span, and for what is followed only; nothing is asked, nothing begun."""
    assert fake.run(*words).exit_code == ExitCode.USAGE
    assert fake.asked == []


def test_without_a_stream_one_is_told_why(fake: Fake) -> None:
    """`watch` looks instead; `tail` has nothing to look at, and names what has."""
    Story(fake, "started", "completed")
    fake.says("GET", EVENTS, problem(429, "too many streams"), 429)
    assert "too many streams; without its stream it is looked at every second" in fake.run("watch", SAGA_ID).stderr
    done = fake.run("tail")
    assert done.exit_code == ExitCode.NOT_FOUND
    assert "saga top" in done.stderr


def test_a_saga_that_has_ended_is_told_at_once(fake: Fake) -> None:
    """Nobody waits for a stream that will say nothing."""
    Story(fake, "completed")
    assert fake.run("watch", SAGA_ID).exit_code == 0
    assert fake.sent("GET", EVENTS) == []


def test_a_saga_that_is_not_there_ends_the_watch(fake: Fake) -> None:
    """Exit code 3, not a watch for ever."""
    fake.says("GET", ONE, problem(404, "there is no saga with this id"), 404)
    assert fake.run("watch", SAGA_ID).exit_code == ExitCode.NOT_FOUND


def test_tail_tells_events_and_goes_on_after_a_break(fake: Fake) -> None:
    """What the server says goes through as it is; a key that is refused ends it."""
    first = {"saga_id": SAGA_ID, "definition": "Trip", "event": "SagaStarted", "status": "started"}
    fake.says("GET", "/v1/events", stream(("4", first)))
    fake.says("GET", "/v1/events", problem(401, "the key was revoked"), 401)
    done = fake.run("tail", "--definition", "Trip", "--status", "started", "-o", "jsonl")
    assert done.exit_code == ExitCode.FORBIDDEN
    assert json.loads(done.stdout) == first
    again = fake.asked[1]
    assert again.headers["last-event-id"] == "4"
    assert again.url.params.multi_items() == [("definition", "Trip"), ("status", "started")]


def test_a_table_of_events_has_a_line_for_each(fake: Fake) -> None:
    """For people: when, which saga, what, and how it stands."""
    event = {"saga_id": SAGA_ID, "definition": "Trip", "event": "SagaStarted", "status": "started", "at": "x"}
    fake.says("GET", "/v1/events", stream(("4", event)))
    fake.says("GET", "/v1/events", problem(401, "no"), 401)
    assert f"{SAGA_ID}  Trip  SagaStarted  started" in fake.run("tail").stdout


def test_what_the_stream_says_of_itself_is_told_aside(fake: Fake) -> None:
    """A gap is no transition: it does not stand among what a program reads."""
    fake.says("GET", "/v1/events", stream(("4", {"from": 1, "to": 9}), kind="gap"))
    fake.says("GET", "/v1/events", problem(401, "no"), 401)
    done = fake.run("tail", "-o", "jsonl")
    assert done.stdout == ""
    assert "gap" in done.stderr


def chunks(*parts: bytes) -> Iterator[bytes]:
    yield from parts


def test_a_stream_is_read_as_the_standard_writes_it() -> None:
    """Comments, several lines of data, CRLF, characters cut in two, line separators inside data, and a cut end."""
    text = ": beat\r\n\r\nid: 1\r\ndata: a\r\ndata: b\r\n\r\nevent: x\ndata:\u00e9\u2028\u0085z\n\nid: 3\ndata: lost"
    raw = text.encode()
    for size in (1, 7, len(raw)):
        beat, *found = read_events(chunks(*(raw[at : at + size] for at in range(0, len(raw), size))))
        assert beat is None
        assert [(each.id, each.kind, each.data) for each in found if each is not None] == [
            ("1", "message", "a\nb"),
            ("1", "x", "\u00e9\u2028\u0085z"),
        ]


START = {"definition": "Trip", "input": {"trip_id": "t-1"}}


@pytest.mark.parametrize("way", ["words", "file", "stdin"])
def test_a_saga_is_started_with_input_from_anywhere(fake: Fake, tmp_path: Path, way: str) -> None:
    """On the command line, from a file, or from standard input; the request has a key of its own."""
    text = json.dumps(START["input"])
    (tmp_path / "input.json").write_text(text)
    given = {"words": text, "file": str(tmp_path / "input.json"), "stdin": "-"}[way]
    fake.says("POST", "/v1/sagas", saga("started", 1), 201)
    done = fake.run("start", "Trip", "-i", given, typed=text if way == "stdin" else None)
    assert done.exit_code == 0, done.output
    assert f"{SAGA_ID} is new: started" in done.stdout
    assert fake.bodies("POST", "/v1/sagas") == [START]
    assert fake.asked[0].headers["idempotency-key"]


def test_a_start_may_have_labels_a_version_and_a_moment(fake: Fake) -> None:
    """A span is counted from now on."""
    fake.says("POST", "/v1/sagas", saga("scheduled", 1), 200)
    words = ("--label", "tier=gold", "--label", "from=a=b", "--version", "2", "--at", "2h", "-o", "json")
    done = fake.run("start", "Trip", "-i", "{}", *words)
    assert json.loads(done.stdout)["status"] == "scheduled"
    body: dict[str, Any] = fake.bodies("POST", "/v1/sagas")[0]
    assert (body["labels"], body["version"]) == ({"tier": "gold", "from": "a=b"}, 2)
    assert body["start_at"].endswith("Z")


@pytest.mark.parametrize(("status", "code"), [("completed", ExitCode.OK), ("failed", ExitCode.NO)])
def test_a_start_may_wait_for_the_end(fake: Fake, status: str, code: ExitCode) -> None:
    """As `watch` does, with the same exit codes."""
    fake.says("POST", "/v1/sagas", saga("started", 1), 201)
    Story(fake, "started", status)
    fake.says("GET", EVENTS, stream(("1", {})))
    done = fake.run("start", "Trip", "-i", "{}", "--wait", "-o", "jsonl")
    assert (done.exit_code, told(done.stdout)) == (code, [1, 2])
