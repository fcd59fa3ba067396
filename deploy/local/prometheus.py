"""promtool and a Prometheus server: from the PATH, else Debian's package, unpacked under .local without being root."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from deploy.local.choice import LocalStackError
from deploy.local.debian import unpack
from deploy.local.places import LOCAL, PROJECT, locked

RULES = PROJECT / "deploy" / "prometheus" / "alerts.yml"
# What takes minutes in earnest takes seconds in a hurry: (in the file, in the copy). Every `for` is a second.
HURRY = {
    "> 60)": "> 15)",
    "_compensating_seconds) > 900": "_compensating_seconds) > 5",
    "_open_seconds) > 1800": "_open_seconds) > 5",
    "_seconds) > 30": "_seconds) > 5",
    "_timers_held_seconds[1m])) > 120": "_timers_held_seconds[10s])) > 5",
    "_consumer_lag) > 5000": "_consumer_lag) > 50",
    "[10m]": "[30s]",
}
HOME = LOCAL / "prometheus"
NEEDED = "promtool and prometheus are neither on the PATH nor to be had from apt: install Debian's package `prometheus`"


def find_tool(name: str) -> Path:
    """Find `promtool` or `prometheus`; raises LocalStackError with what to install."""
    found = shutil.which(name)
    if found is not None:
        return Path(found)
    tool = HOME / "usr" / "bin" / name
    with locked(LOCAL / "prometheus.lock"):
        if not tool.exists() and not unpack("prometheus", HOME):
            raise LocalStackError(NEEDED)
    if not tool.exists():
        raise LocalStackError(NEEDED)
    return tool


def hurried_rules() -> str:
    """Return the alerts that ship, with seconds for minutes; raises LocalStackError when the file says other things."""
    rules = RULES.read_text()
    for earnest, hurried in HURRY.items():
        if earnest not in rules:
            raise LocalStackError(f"alerts.yml has no {earnest!r} any more")
        rules = rules.replace(earnest, hurried)
    return re.sub(r"(?m)^( +for:) .*$", r"\1 1s", rules)
