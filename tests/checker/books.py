"""What must add up: money, acts and their audit, the coordinator's own counts; and what must be told to nobody."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from tests.checker.evidence import Evidence, Expected, Plan

ENTERS = "Requested"
VERBS = ("retry", "skip", "resolve", "compensate", "suspend", "resume", "abandon")


def acts_are_audited(found: Evidence, plan: Plan, expected: Expected) -> Iterable[str]:
    """Every act of a person that is in a log is in the audit, once and under its name, and the audit has no others."""
    logged = {
        (entry.saga_id, entry.version): entry.event.removesuffix(ENTERS).lower()
        for entries in found.log.values()
        for entry in entries
        if entry.event.endswith(ENTERS)
    }
    audited = Counter((act.saga_id, act.version, act.action) for act in found.acts if act.action in VERBS)
    for (saga_id, version), verb in logged.items():
        count = audited[saga_id, version, verb]
        if count != 1:
            yield f"the {verb} of saga {saga_id} at {version} is in the audit {count} times"
    for saga_id, version, action in audited:
        if saga_id in found.sagas and logged.get((saga_id, version)) != action:
            yield f"the audit tells of {action} of saga {saga_id} at {version}, which its log does not have"


def tallies_are_the_rows(found: Evidence, plan: Plan, expected: Expected) -> Iterable[str]:
    """The coordinator counts as many sagas of each definition and status as there are rows."""
    rows = Counter((saga.definition, saga.status) for saga in found.sagas.values())
    for name, status in sorted(rows.keys() | found.tallies.keys()):
        if rows[name, status] != found.tallies[name, status]:
            counted = found.tallies[name, status]
            yield f"{rows[name, status]} sagas of {name} are {status}, {counted} are counted"


def one_saga_per_business_key(found: Evidence, plan: Plan, expected: Expected) -> Iterable[str]:
    """No two sagas of one definition have the same business key."""
    sagas: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for saga in found.sagas.values():
        sagas[saga.definition, saga.business_key].append(saga.id)
    for (name, key), ids in sagas.items():
        if len(ids) > 1:
            yield f"the sagas {', '.join(sorted(ids))} of {name} have the business key {key}"


def money_is_conserved(found: Evidence, plan: Plan, expected: Expected) -> Iterable[str]:
    """What left an account has reached another, or is back, or a person is asked; and the ledger says the same."""
    recorded: Counter[str] = Counter()
    for entry in found.entries:
        recorded[entry.saga_id] += -entry.amount if entry.reverses else entry.amount
        if entry.sum:
            yield f"the two sides of an entry of saga {entry.saga_id} differ by {entry.sum}"
    credited: Counter[str] = Counter()
    waiting = set()
    for hold in found.holds:
        if hold.ending == "credited":
            credited[hold.saga_id] += hold.amount
        saga = found.sagas.get(hold.saga_id)
        if hold.ending is None:
            waiting.add(hold.saga_id)
            if saga is None or saga.status not in ("suspended", "abandoned"):
                status = "not there" if saga is None else saga.status
                yield f"{hold.amount} are on hold for saga {hold.saga_id}, which is {status}"
    for saga_id in sorted(recorded.keys() | credited.keys()):
        saga = found.sagas.get(saga_id)
        rests = saga is not None and saga.status in ("completed", "failed") and saga_id not in waiting
        if rests and recorded[saga_id] != credited[saga_id]:
            yield f"saga {saga_id}: the ledger has {recorded[saga_id]}, {credited[saga_id]} were credited"


def no_secret_is_told(found: Evidence, plan: Plan, expected: Expected) -> Iterable[str]:
    """No log has a text that its readers may not see."""
    for name, text in found.told.items():
        for secret in expected.secrets:
            if secret in text:
                line = text.count("\n", 0, text.index(secret)) + 1
                yield f"{name}, line {line}: has the secret {secret!r}"
