"""Fuzzing finds what it is there for, and what it has found before is tried in every run of the tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from coordinator.wire import inbound, strict_json
from coordinator.wire.messages import EVENT_TYPES, INBOUND_TYPES
from coordinator.wire.strict_json import Refused
from tests.prove.decoding import Broken, look
from tests.prove.fuzz import Fuzzing
from tests.prove.inputs import SAMPLES
from tests.prove.kept import CORPUS, Corpus, Input

ODD = Input((("ce_id", None), ("x", b"\x85\xff\n")), None, b'{"a":"\xe2\x80\xa8"}\r\n\x00')


def test_everything_that_was_ever_interesting_is_still_read_or_refused() -> None:
    """The corpus that is checked in breaks no decoder, and reaches more than a hundred different verdicts."""
    fuzzing = Fuzzing(Corpus(CORPUS))
    fuzzing.replay()
    assert len(fuzzing.verdicts) > 100


def test_a_round_of_new_inputs_breaks_nothing() -> None:
    """A few hundred inputs of the kind that the long run makes, the same in each run."""
    fuzzing = Fuzzing(Corpus(CORPUS))
    fuzzing.play(1, families=5)
    assert fuzzing.tried >= 500
    assert 0 < fuzzing.accepted < fuzzing.tried


def test_every_kind_of_message_is_among_the_samples() -> None:
    """Each class is accepted, in both modes, before anything is changed."""
    verdicts = {verdict for one in SAMPLES for verdict in look(one)}
    classes = {cls.__name__ for cls in (*INBOUND_TYPES, *EVENT_TYPES)}
    read = {verdict.rpartition(": accepted ")[2] for verdict in verdicts}
    assert classes | {"Command", "Compensation"} <= read


def test_an_error_of_another_kind_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder that lets anything but Refused out is broken, and the input is kept with it."""

    def careless(*_: Any) -> None:
        raise KeyError("saga_id")

    monkeypatch.setattr(inbound, "decode_inbound", careless)
    with pytest.raises(Broken, match="inbound raised KeyError") as broken:
        look(SAMPLES[0])
    assert broken.value.input == SAMPLES[0]


def test_a_message_that_changes_by_being_written_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is accepted must be read again as itself."""
    true_decode, calls = inbound.decode_command, []

    def forgetful(headers: Any, value: Any) -> Any:
        calls.append(value)
        read = true_decode(headers, value)
        return read if len(calls) == 1 else msgspec.structs.replace(read, not_after_ms=0)

    monkeypatch.setattr(inbound, "decode_command", forgetful)
    command = next(one for one in SAMPLES if ("ce_type", b"Pay") in one.headers)
    with pytest.raises(Broken, match="is read again as"):
        look(command)


def test_roads_that_differ_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fast and the slow road of strict JSON must agree."""

    def strict(*_: Any) -> None:
        raise Refused("not_json")

    monkeypatch.setattr(strict_json, "judge_object", strict)
    with pytest.raises(Broken, match="the roads differ"):
        look(SAMPLES[0])


def test_the_corpus_keeps_one_input_of_each_verdict(tmp_path: Path) -> None:
    """An input that tells nothing new, or is long, is not kept; what is kept is read again as it was."""
    corpus = Corpus(tmp_path / "some" / "inputs.jsonl")
    assert corpus.learn(ODD, {"json: nul"})
    assert not corpus.learn(SAMPLES[0], {"json: nul"})
    assert not corpus.learn(Input((), None, b"x" * 801), {"json: not_json"})
    assert corpus.learn(SAMPLES[0], {"json: nul", "json: accepted object"})
    corpus.keep()
    assert sorted(one.text() for one in Corpus(tmp_path / "some" / "inputs.jsonl").inputs()) == sorted(
        [ODD.text(), SAMPLES[0].text()]
    )
    assert ODD in Corpus(tmp_path / "some" / "inputs.jsonl").inputs()
