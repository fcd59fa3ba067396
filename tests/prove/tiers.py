"""The tiers of the proof, in order: what each of them is for, and the command that runs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MINUTE_S = 60.0
PRODUCT = ("coordinator", "participants", "sagas", "alembic", "deploy", "requirements", "pyproject.toml")
SIMULATED = (  # all of the simulator but what breaks the engine
    "tests/simulation/regressions.txt",
    *(
        f"tests/simulation/{name}.py"
        for name in (
            *("asking", "broker", "campaign", "dancing", "database", "definitions", "explaining", "faults", "hearing"),
            *("kafka", "loop", "participants", "process", "resting", "run", "shrinking", "store", "transcript"),
            *("watching", "world"),
        )
    ),
)
REAL = (  # what plays on real servers, and who looks afterwards
    "tests/conftest.py",
    "tests/needs.py",
    *(f"tests/checker/{name}.py" for name in ("books", "checks", "evidence", "history", "published")),
    *(f"tests/e2e/{name}.py" for name in ("definitions", "orders", "transfers", "world")),
)

INPUTS = (  # the tables of what is bad, and what sends it
    *(f"tests/integration/api/{name}.py" for name in ("bad_requests", "guarded", "routes", "server")),
    *(f"tests/integration/engine/{name}.py" for name in ("batches", "bench", "cases")),
    "tests/integration/kafka/helpers.py",
    *(f"tests/prove/{name}.py" for name in ("inputs", "kept")),
)


@dataclass(frozen=True)
class Tier:
    """One tier: arguments for this Python; `limit_s` is how long it may take before it counts as hanging.

    `tests` are the files and folders that it reads beside the product: its record counts until one of these changes.

    A tier of pytest says what it found in pytest's own report, any other in the last line that it prints, as JSON. One
    that `measures` is also told a file for lines of JSON, in a variable that it must keep from coordinators.
    """

    name: str
    about: str
    arguments: tuple[str, ...]
    limit_s: float
    tests: tuple[str, ...] = ()
    measures: bool = False

    @property
    def reads(self) -> tuple[str, ...]:
        """All files and folders on which its result depends."""
        return (*PRODUCT, *self.tests)

    @property
    def is_pytest(self) -> bool:
        """Whether pytest runs it."""
        return self.arguments[:2] == ("-m", "pytest")

    @property
    def command(self) -> str:
        """What a person types to run it alone."""
        return f".venv/bin/python {' '.join(self.arguments)}"


def _pytest(*arguments: str) -> tuple[str, ...]:
    return ("-m", "pytest", *arguments)


TIERS: Sequence[Tier] = (
    Tier(
        "simulation",
        "the engine that runs in production, on virtual time, against a Postgres and a Kafka that lie",
        ("-m", "tests.simulation.campaign", "--sagas", "400000", "--faults", "1600000"),
        75 * MINUTE_S,
        SIMULATED,
    ),
    Tier(
        "twins",
        "engines that are broken on purpose, each of which the simulation must find out",
        ("-m", "tests.simulation.twins"),
        15 * MINUTE_S,
        ("tests/simulation",),
    ),
    Tier(
        "crash",
        "SIGKILL at every point of every path, on real processes",
        _pytest("tests/crash"),
        40 * MINUTE_S,
        ("tests/crash", *REAL),
    ),
    Tier(
        "faults",
        "a real Kafka and a real Postgres that fail",
        _pytest("tests/faults"),
        40 * MINUTE_S,
        ("tests/faults", "tests/figures.py", *REAL),
        measures=True,
    ),
    Tier(
        "soak",
        "random sagas, faults and kills on real processes, all at once",
        ("-m", "tests.soak", "--minutes", "15"),
        30 * MINUTE_S,
        ("tests/soak", *REAL),
    ),
    Tier(
        "upgrades",
        "the commit before and this one on one database and one broker",
        _pytest("tests/e2e/test_mixed_versions.py"),
        12 * MINUTE_S,
        ("tests/e2e/test_mixed_versions.py", *REAL),
    ),
    Tier(
        "inputs",
        "the whole catalogue of bad input, and changes of each row, at one stack with sagas of every kind",
        _pytest("tests/catalogue"),
        15 * MINUTE_S,
        ("tests/catalogue", "tests/figures.py", *INPUTS, *REAL),
        measures=True,
    ),
    Tier(
        "fuzz",
        "random and mutated bytes for everything that reads what strangers send",
        ("-m", "tests.prove.fuzz", "--minutes", "10"),
        15 * MINUTE_S,
        tuple(f"tests/prove/{name}.py" for name in ("fuzz", "decoding", "inputs", "kept")),
    ),
)
