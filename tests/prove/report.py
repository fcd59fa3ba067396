"""docs/reliability.md: the promises in words, and what the records say; what no record says is "not run"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.prove.records import Record
from tests.prove.tiers import Tier

TEMPLATE = Path(__file__).with_name("reliability.md")
NOT_RUN = "not run"
Found = Mapping[str, Record | None]

# What is shown of a tier beside its verdict: words, and the figure that has it (`tests.passed` is pytest's own count).
FIGURES: Mapping[str, Sequence[tuple[str, str]]] = {
    "simulation": (("seeds", "seeds"), ("sagas", "sagas"), ("faults", "faults"), ("violations", "violations")),
    "twins": (("twins", "twins"), ("of these caught", "caught")),
    "crash": (("crash points and cases that were gone through", "tests.passed"),),
    "faults": (("cases that were gone through", "tests.passed"),),
    "soak": (
        ("minutes under load", "minutes"),
        ("sagas", "sagas"),
        ("kills of coordinators", "coordinator_kills"),
        ("kills of participants", "participant_kills"),
        ("faults", "faults"),
        ("looks at all the money", "looks"),
        ("complaints of the checker", "complaints"),
        ("repaired by a person's retry", "retries"),
        ("resident memory of any process at its highest, MB", "rss_mb_max"),
        ("file descriptors of any process at their highest", "descriptors_max"),
        ("sessions with the database at their highest", "sessions_max"),
        ("rows of the outbox at their highest", "outbox_max"),
        ("age of a row of the outbox at its highest, s", "outbox_age_s_max"),
        ("the outbox on disk at its largest, MB", "outbox_mb_max"),
        ("dead rows of any table at their most", "dead_rows_max"),
    ),
    "upgrades": (("cases that were gone through", "tests.passed"),),
    "inputs": (
        ("rows of the catalogue of records, as sent", "kafka_rows"),
        ("rows of the catalogue of requests, as sent", "rest_rows"),
        ("changes of them", "mutations"),
        ("sagas whose rows are as they were", "sagas_untouched"),
    ),
    "fuzz": (("minutes", "minutes"), ("inputs", "inputs"), ("of these accepted", "accepted"), ("corpus", "corpus")),
}


def render(tiers: Sequence[Tier], records: Found) -> str:
    """Write the document."""
    parts = {
        "machines": _machines(records),
        "tiers": _tiers(tiers, records),
        "figures": _figures(tiers, records),
        "faults": _faults(records),
        "recoveries": _recoveries(records.get("faults")),
        "skipped": _skipped(records),
    }
    text = TEMPLATE.read_text()
    for name, part in parts.items():
        text = text.replace("{{" + name + "}}", part)
    return text


def verdict(record: Record | None) -> str:
    """Say what became of a tier; nothing but a run that passed is called passed."""
    if record is None or record.empty:
        return NOT_RUN
    if not record.passed:
        return "**failed**"
    return f"passed, {len(record.skipped)} skipped" if record.skipped else "passed"


def figure(record: Record | None, name: str) -> str:
    """Say one figure of a record; a mapping counts as the sum of its values, a list as its length."""
    if record is None or record.empty:
        return NOT_RUN
    place, _, key = name.rpartition(".")
    value = (record.tests if place == "tests" else record.figures).get(key)
    return NOT_RUN if value is None else _words(value)


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        value = sum(each for each in value.values() if isinstance(each, int | float))
    elif isinstance(value, list):
        value = len(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def _machines(records: Found) -> str:
    machines: dict[str, list[str]] = {}
    for name, record in records.items():
        if record is not None:
            words = ", ".join(f"{each.replace('_', ' ')}: {value}" for each, value in record.machine.items())
            machines.setdefault(words, []).append(name)
    if not machines:
        return NOT_RUN
    if len(machines) == 1:
        return next(iter(machines))
    return "; ".join(f"{words} ({', '.join(names)})" for words, names in machines.items())


def _tiers(tiers: Sequence[Tier], records: Found) -> str:
    lines = []
    for tier in tiers:
        record = records.get(tier.name)
        took = NOT_RUN if record is None else f"{record.duration_s / 60:.1f} min"
        began = NOT_RUN if record is None else record.began_at
        commit = NOT_RUN if record is None else record.revision.words
        lines.append([tier.name, tier.about, verdict(record), took, began, commit, f"`{tier.command}`"])
    return _table(("tier", "what it is", "result", "took", "began", "commit", "by hand"), lines)


def _figures(tiers: Sequence[Tier], records: Found) -> str:
    lines = [
        [tier.name, words, figure(records.get(tier.name), name)]
        for tier in tiers
        for words, name in FIGURES.get(tier.name, ())
    ]
    return _table(("tier", "figure", "value"), lines)


def _faults(records: Found) -> str:
    """The faults by kind, of every tier that counts them so."""
    lines = [
        [name, kind.replace("_", " "), _words(count)]
        for name, record in records.items()
        if record is not None
        for kind, count in sorted(record.figures.get("faults_by_kind", {}).items(), key=lambda each: -each[1])
    ]
    return _table(("tier", "fault", "times"), lines) if lines else NOT_RUN


def _recoveries(record: Record | None) -> str:
    """How long sagas stood still after a fault had ended: the worst of each kind, beside what is promised."""
    worst: dict[str, dict[str, Any]] = {}
    for each in [] if record is None else record.figures.get("recoveries", []):
        known = worst.get(each["fault"])
        count = 1 if known is None else known["count"] + 1
        if known is None or each["recovered_s"] > known["recovered_s"]:
            known = worst[each["fault"]] = dict(each)
        known["count"] = count
    if not worst:
        return NOT_RUN
    lines = [
        [name, _words(each["count"]), _words(each.get("sagas", NOT_RUN)), f"{each['recovered_s']:.1f}", _bound(each)]
        for name, each in worst.items()
    ]
    return _table(("fault", "times", "sagas", "moved again after, s", "at most, s"), lines)


def _bound(recovery: Mapping[str, Any]) -> str:
    bound = recovery.get("bound_s")
    if bound is None:
        return "none promised"
    return f"{bound:g}" if recovery["recovered_s"] <= bound else f"{bound:g} **missed**"


def _skipped(records: Found) -> str:
    lines = [
        f"- {name}: `{skip.name}`: {skip.reason}"
        for name, record in records.items()
        if record is not None
        for skip in record.skipped
    ]
    return "\n".join(lines) if lines else "None."


def _table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [heads, ["---"] * len(heads), *lines]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
