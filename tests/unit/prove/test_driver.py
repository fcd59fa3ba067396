"""The proof runs tier by tier, goes on where it was ended, stops at what fails, and claims only what it has seen."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.local.places import PROJECT
from tests.prove.driver import Proof
from tests.prove.records import Record, Records, Revision, revision_of
from tests.prove.running import Runner
from tests.prove.tiers import TIERS, Tier

HERE = Revision("a" * 40, "1")
MACHINE: dict[str, str | int] = {"cpu": "a fast one", "cores": 2}
LIMIT_S = 30.0


def program(name: str, *lines: str, limit_s: float = LIMIT_S) -> Tier:
    """Make a tier that leaves a mark that it ran, and does what these lines of Python say."""
    mark = f"open('{name}.ran', 'a').write('x')"
    return Tier(name, f"what {name} is", ("-c", "\n".join(("import json, os, sys, time", mark, *lines))), limit_s)


def passing(name: str, **figures: object) -> Tier:
    """Make a tier that passes with these figures."""
    text = json.dumps({"tier": name, "passed": True, **figures})
    return program(name, "print('working')", f"print('''{text}''')")


def runs(folder: Path, name: str) -> int:
    """Count how often a tier ran."""
    file = folder / f"{name}.ran"
    return len(file.read_text()) if file.exists() else 0


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pytest start quickly below pytest."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


@pytest.fixture
def said() -> list[str]:
    """What the proof tells a person."""
    return []


@pytest.fixture
def proof(tmp_path: Path, said: list[str]) -> Callable[..., Proof]:
    """Make a proof over tiers, all with the same state."""

    def make(*tiers: Tier, revision: Revision = HERE) -> Proof:
        state = tmp_path / "state"
        return Proof(
            tiers, Records(state), Runner(tmp_path, state, said.append), lambda _: revision, MACHINE, said.append
        )

    return make


def kept(folder: Path, name: str) -> Record | None:
    return Records(folder / "state").find(name, HERE)


def test_a_tier_leaves_a_record(proof: Callable[..., Proof], tmp_path: Path) -> None:
    """The record names commit, content, machine, time and figures."""
    one = passing("one", seeds=7)
    assert proof(one).run([one])
    record = kept(tmp_path, "one")
    assert record is not None
    assert record.passed
    assert record.revision == HERE
    assert record.machine == MACHINE
    assert record.figures == {"passed": True, "seeds": 7}
    assert record.exit_code == 0
    assert 0 < record.duration_s < LIMIT_S


def test_a_tier_that_has_passed_is_not_run_again(proof: Callable[..., Proof], tmp_path: Path, said: list[str]) -> None:
    """A run that was ended in its middle goes on with the tier that had not passed."""
    one, two = passing("one"), passing("two")
    assert proof(one, two).run([one])
    assert proof(one, two).run([one, two])
    assert (runs(tmp_path, "one"), runs(tmp_path, "two")) == (1, 1)
    assert any("one: passed already" in line for line in said)


def test_again_means_again(proof: Callable[..., Proof], tmp_path: Path) -> None:
    """Who asks for it gets tiers anew."""
    one = passing("one")
    assert proof(one).run([one])
    assert proof(one).run([one], again=True)
    assert runs(tmp_path, "one") == 2


def test_a_record_outlives_a_commit_that_changes_nothing_of_it(proof: Callable[..., Proof], tmp_path: Path) -> None:
    """What a tier reads is as it was: it need not run, and its record goes on naming the commit at which it ran."""
    one, later = passing("one", seeds=7), Revision("b" * 40, HERE.content)
    assert proof(one).run([one])
    assert proof(one, revision=later).run([one])
    assert runs(tmp_path, "one") == 1
    document = tmp_path / "document.md"
    proof(one, revision=later).write(document)
    assert HERE.words in document.read_text()
    assert later.words not in document.read_text()


def test_a_record_of_something_else_is_not_used(proof: Callable[..., Proof], tmp_path: Path) -> None:
    """Another content of what a tier reads is proven anew, and its document has no old figures."""
    one, other = passing("one", seeds=7), Revision(HERE.commit, "2", True)
    assert proof(one).run([one])
    document = tmp_path / "document.md"
    proof(one, revision=other).write(document)
    assert "| one | what one is | not run |" in document.read_text()
    assert proof(one, revision=other).run([one])
    assert runs(tmp_path, "one") == 2


def test_a_tree_that_changes_meanwhile_is_not_proven(tmp_path: Path, said: list[str]) -> None:
    """Nobody knows what a tier has run on whose code was edited in its middle: it leaves no record."""
    one, state = passing("one"), tmp_path / "state"
    runner = Runner(tmp_path, state, said.append)

    def look(_: Tier) -> Revision:
        return Revision(HERE.commit, "2") if runs(tmp_path, "one") else HERE

    assert not Proof([one], Records(state), runner, look, MACHINE, said.append).run([one])
    assert kept(tmp_path, "one") is None
    assert "what it reads has changed meanwhile" in said[-1]


def test_a_tier_that_fails_has_failed_whatever_it_wrote(tmp_path: Path, said: list[str]) -> None:
    """A campaign adds the seeds that it found to what it reads: a person is still told what is broken."""
    bad, state = program("bad", "print('seed 12 is broken')", "sys.exit(1)"), tmp_path / "state"
    runner = Runner(tmp_path, state, said.append)

    def look(_: Tier) -> Revision:
        return Revision(HERE.commit, "2") if (state / "bad.log").exists() else HERE

    assert not Proof([bad], Records(state), runner, look, MACHINE, said.append).run([bad])
    assert "seed 12 is broken" in said[-1]


def test_a_commit_meanwhile_that_changes_nothing_of_it_does_no_harm(tmp_path: Path, said: list[str]) -> None:
    """It was proven of the commit at which it began, and of every one with the same content."""
    one, state = passing("one"), tmp_path / "state"
    runner = Runner(tmp_path, state, said.append)

    def look(_: Tier) -> Revision:
        return Revision("b" * 40, HERE.content) if runs(tmp_path, "one") else HERE

    assert Proof([one], Records(state), runner, look, MACHINE, said.append).run([one])
    record = kept(tmp_path, "one")
    assert record is not None
    assert record.revision == HERE


def test_a_tier_that_fails_ends_the_run(proof: Callable[..., Proof], tmp_path: Path, said: list[str]) -> None:
    """The tiers behind it do not run, and a person is told what to look at; the next run begins with it."""
    one, bad, three = passing("one"), program("bad", "print('seed 12 is broken')", "sys.exit(1)"), passing("three")
    assert not proof(one, bad, three).run([one, bad, three])
    assert runs(tmp_path, "three") == 0
    last = said[-1]
    assert "seed 12 is broken" in last
    assert str(tmp_path / "state" / "bad.log") in last
    record = kept(tmp_path, "bad")
    assert record is not None
    assert not record.passed
    assert not proof(one, bad, three).run([one, bad, three])
    assert (runs(tmp_path, "one"), runs(tmp_path, "bad")) == (1, 2)


@pytest.mark.parametrize(
    "lines",
    [
        ['print(\'{"tier": "odd", "passed": false}\')'],
        ["print('nothing of the kind')"],
        ['print(\'{"tier": "odd", "passed": true}\')', "os._exit(3)"],
        ['print(\'{"tier": "odd", "passed": "yes"}\')'],
    ],
    ids=["says no", "says nothing", "says yes and fails", "says something else"],
)
def test_only_a_tier_that_says_so_and_ends_well_has_passed(
    proof: Callable[..., Proof], tmp_path: Path, lines: list[str]
) -> None:
    """Neither the exit code alone nor the last line alone is enough."""
    odd = program("odd", *lines)
    assert not proof(odd).run([odd])


def test_a_tier_that_hangs_is_ended(proof: Callable[..., Proof], tmp_path: Path, said: list[str]) -> None:
    """A tier has a limit, and what it started goes with it."""
    hanging = program("hanging", "time.sleep(600)", limit_s=0.5)
    assert not proof(hanging).run([hanging])
    record = kept(tmp_path, "hanging")
    assert record is not None
    assert record.exit_code is None
    assert any("has not ended within 0.5 s" in line for line in said)


def test_output_is_shown_as_whole_lines(proof: Callable[..., Proof], said: list[str]) -> None:
    """What a tier prints in pieces is shown once it is a line."""
    slow = program(
        "slow",
        "print('ha', end='', flush=True)",
        "time.sleep(0.5)",
        "print('lf')",
        'print(\'{"tier":1,"passed":true}\')',
    )
    assert proof(slow).run([slow])
    assert "half" in "\n".join(said).splitlines()


def test_what_strangers_to_json_print_is_passed_over(proof: Callable[..., Proof], tmp_path: Path) -> None:
    """Warnings behind the last line, and braces that are no JSON, do not hide the figures."""
    noisy = program("noisy", 'print(\'{"tier":"noisy","passed":true,"n":1}\')', "print('{not json')", "print('bye')")
    assert proof(noisy).run([noisy])
    record = kept(tmp_path, "noisy")
    assert record is not None
    assert record.figures["n"] == 1


PYTEST = """
import json, os, pytest

def test_one(): pass

@pytest.mark.skip(reason="no second machine")
def test_two(): pass

def test_three():
    said = [{"fault": "broker killed", "recovered_s": after, "bound_s": 10, "sagas": 40} for after in (1.5, 2.5)]
    with open(os.environ["SAGA_PROVE_RECORD"], "a") as file:
        for each in (*said, {"restarts": 2}, {"restarts": 3}):
            file.write(json.dumps(each) + "\\n")
"""


def pytest_tier(folder: Path, text: str, name: str = "faults") -> Tier:
    """Make a tier of pytest over one file."""
    (folder / "test_it.py").write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\n")
    return Tier(
        name, f"what {name} is", ("-m", "pytest", "-p", "no:cacheprovider", "-q", "test_it.py"), LIMIT_S, measures=True
    )


def test_a_tier_of_pytest_is_read_from_its_report(proof: Callable[..., Proof], tmp_path: Path, said: list[str]) -> None:
    """Tests are counted, skips are told by name, and what tests have measured is in the record."""
    tier = pytest_tier(tmp_path, PYTEST)
    assert proof(tier).run([tier])
    record = kept(tmp_path, "faults")
    assert record is not None
    assert record.tests == {"passed": 2, "failed": 0, "skipped": 1}
    assert [(skip.name, skip.reason) for skip in record.skipped] == [("test_it::test_two", "no second machine")]
    assert record.figures["restarts"] == 5
    assert [each["recovered_s"] for each in record.figures["recoveries"]] == [1.5, 2.5]
    assert "    skipped: test_it::test_two: no second machine" in said


def test_only_a_tier_that_measures_is_told_where(proof: Callable[..., Proof]) -> None:
    """Coordinators refuse a variable that they do not know: others never see it."""
    alone = program("alone", "assert 'SAGA_PROVE_RECORD' not in os.environ", 'print(\'{"tier":1,"passed":true}\')')
    assert proof(alone).run([alone])


def test_a_tier_without_tests_has_not_passed(proof: Callable[..., Proof], tmp_path: Path) -> None:
    """Tests that are not there prove nothing."""
    tier = Tier("gone", "what is gone", ("-m", "pytest", "-q", "nowhere"), LIMIT_S)
    assert not proof(tier).run([tier])


def test_a_tier_that_was_skipped_as_a_whole_counts_as_not_run(
    proof: Callable[..., Proof], tmp_path: Path, said: list[str]
) -> None:
    """It does not stop the run, and is never called passed."""
    text = PYTEST.replace("def test_one", "@pytest.mark.skip(reason='no git')\ndef test_one")
    tier = pytest_tier(tmp_path, text.partition("def test_three")[0])
    assert proof(tier).run([tier])
    document = tmp_path / "document.md"
    proof(tier).write(document)
    assert "| faults | what faults is | not run |" in document.read_text()
    assert "no git" in document.read_text()
    assert any("nothing of it could run" in line for line in said)


def test_the_content_of_the_tree_is_what_lies_there(tmp_path: Path) -> None:
    """A file that is changed, added or removed makes another revision; the document and what git ignores do not."""

    def git(*arguments: str) -> None:
        who = ("-c", "user.name=t", "-c", "user.email=t@example.com")
        subprocess.run(["git", "-C", str(tmp_path), *who, *arguments], check=True, capture_output=True)

    (tmp_path / "docs").mkdir()
    (tmp_path / ".gitignore").write_text("ignored\n")
    (tmp_path / "code").write_text("1")
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "-m", "first")
    first = revision_of(tmp_path)
    assert not first.changed
    (tmp_path / "ignored").write_text("1")
    (tmp_path / "docs" / "reliability.md").write_text("1")
    assert revision_of(tmp_path) == first
    (tmp_path / "code").write_text("2")
    changed = revision_of(tmp_path)
    assert changed.changed
    assert (changed.commit, changed.content == first.content) == (first.commit, False)
    (tmp_path / "code").write_text("1")
    (tmp_path / "more").write_text("1")
    assert revision_of(tmp_path).content not in (first.content, changed.content)
    (tmp_path / "more").unlink()
    (tmp_path / "code").unlink()
    assert revision_of(tmp_path).content != first.content


@pytest.mark.parametrize("known", [True, False], ids=["git", "no git"])
def test_only_what_a_tier_reads_counts(tmp_path: Path, known: bool) -> None:
    """Another file may change as it likes."""
    (tmp_path / "code").mkdir()
    for name in ("code/one", "pins", "other"):
        (tmp_path / name).write_text("1")
    if known:
        who = ("-c", "user.name=t", "-c", "user.email=t@example.com")
        for step in (("init",), ("add", "."), ("commit", "-m", "first")):
            subprocess.run(["git", "-C", str(tmp_path), *who, *step], check=True, capture_output=True)
    reads = ("code", "pins")
    first = revision_of(tmp_path, reads)
    (tmp_path / "other").write_text("2")
    assert revision_of(tmp_path, reads) == first
    for name in reads:
        file = next(iter(sorted((tmp_path / name).glob("*"))), tmp_path / name)
        file.write_text("2")
        assert revision_of(tmp_path, reads).content != first.content
        file.write_text("1")
    assert revision_of(tmp_path, reads) == first


def test_a_tree_without_git_has_a_content_all_the_same(tmp_path: Path) -> None:
    """An unpacked archive can be proven, and a change of it is noticed."""
    (tmp_path / "code").write_text("1")
    first = revision_of(tmp_path)
    assert first.commit == "no commit"
    (tmp_path / "code").write_text("2")
    assert revision_of(tmp_path).content != first.content


def test_the_tiers_are_those_that_are_promised() -> None:
    """All tiers are there, in order, and together they may take no longer than they should by far."""
    names = ["simulation", "twins", "crash", "faults", "soak", "upgrades", "inputs", "fuzz"]
    assert [tier.name for tier in TIERS] == names


@pytest.mark.parametrize("tier", TIERS, ids=[tier.name for tier in TIERS])
def test_a_tier_reads_what_it_says(tier: Tier) -> None:
    """What its own tests and programs import from others is among what its record depends on; all of it exists."""
    files = [PROJECT / name for name in tier.reads]
    assert all(file.exists() for file in files)
    programs = [file for place in files if "tests" in place.parts for file in [place, *place.rglob("*.py")]]
    for program in (file for file in programs if file.suffix == ".py"):
        for path in _imported(program.read_text()):
            assert any(f"{path}/".startswith(f"{read.removesuffix('.py')}/") for read in tier.reads), (program, path)


def _imported(text: str) -> Iterator[str]:
    """Modules of tests and benchmarks that a module imports, as paths without their suffix."""
    for module, names in re.findall(r"^from ((?:tests|benchmarks)[.\w]*) import ([^#\n]+)", text, re.MULTILINE):
        path = module.replace(".", "/")
        if (PROJECT / path).is_dir():
            yield from (f"{path}/{name.split()[0]}" for name in names.split(","))
        else:
            yield path
