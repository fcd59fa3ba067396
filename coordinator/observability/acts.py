"""The log's copy of the audit: one line per act or refusal, once its row is committed. The table is what counts."""

from __future__ import annotations

import structlog

log = structlog.get_logger()


def say_act(
    *, actor: str, action: str, reason: str, request_id: str, outcome: str = "done", **about: str | int | None
) -> None:
    """Write the line of one act; `about` names what it was done to, and how that stood before and after."""
    given = {name: value for name, value in about.items() if value is not None}
    log.info("audited", actor=actor, action=action, outcome=outcome, reason=reason, request_id=request_id, **given)
