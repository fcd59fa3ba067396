"""Whether money was conserved: at every look during a run, and between balances and ledger at its end. No database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

NAMED = 3  # of the wrong looks; the others are counted


@dataclass
class Looks:
    """The looks at all money, each by currency: (on accounts, on hold)."""

    first: Mapping[str, int] | None = None
    count: int = 0
    held: int = 0
    wrong: list[str] = field(default_factory=list)

    def add(self, look: Mapping[str, tuple[int, int]]) -> None:
        """Take one more look; the first says how much there is."""
        total = {currency: sum(amounts) for currency, amounts in look.items()}
        self.first = self.first or total
        self.count += 1
        self.held += any(on_hold for _, on_hold in look.values())
        if total != self.first:
            self.wrong.append(f"look {self.count}: {_said(total)}, at first {_said(self.first)}")

    def finding(self) -> tuple[str, bool]:
        """Say how often it was looked and whether the sum was always the same."""
        said = f"looked at all the money {self.count} times, {self.held} times with some of it on hold"
        if self.wrong:
            more = f" and {len(self.wrong) - NAMED} more" if len(self.wrong) > NAMED else ""
            return f"{said}: {'; '.join(self.wrong[:NAMED])}{more}", False
        return f"{said}: always the same sum", True


def balances_finding(
    before: Mapping[str, int], after: Mapping[str, int], recorded: Mapping[str, int]
) -> tuple[str, bool]:
    """Say whether every account has changed by what the ledger has recorded for it, in minor units."""
    moved = {account: after[account] - amount for account, amount in before.items()}
    wrong = [
        f"{account} changed by {change}, the ledger says {recorded.get(account, 0)}"
        for account, change in moved.items()
        if change != recorded.get(account, 0)
    ]
    said = f"balances of {len(moved)} accounts have changed by what the ledger has recorded"
    return ("; ".join(wrong), False) if wrong else (said, True)


def _said(total: Mapping[str, int]) -> str:
    return ", ".join(f"{amount} {currency}" for currency, amount in total.items())
