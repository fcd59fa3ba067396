"""A person before a coordinator: runs `saga` over real HTTP, as a script or as somebody who answers questions."""

from __future__ import annotations

import json
from typing import Any

from typer.testing import CliRunner, Result

from coordinator.command import app
from coordinator.remote.outside import Outside
from tests.integration.api.guarded import Guarded
from tests.integration.api.server import order

SUSPEND = "UPDATE saga SET status = 'suspended', version = 2, wake_at = NULL, deadline = NULL WHERE id = $1"
END = "UPDATE saga SET status = 'failed', version = 2, wake_at = NULL, deadline = NULL WHERE id = $1"


class Terminal:
    """Commands of somebody against one coordinator; nothing of this machine's own configuration takes part."""

    def __init__(self, guarded: Guarded, who: str = "admin") -> None:
        self.guarded = guarded
        self.api = guarded.api
        self._key = guarded.tokens.get(who, who)

    def of(self, who: str) -> Terminal:
        """The terminal of somebody else: of a role, or with a token."""
        return Terminal(self.guarded, who)

    def run(self, *words: str, typed: str | None = None, env: dict[str, str] | None = None) -> Result:
        """Run a command; who types something is there to answer."""
        environment = {
            "SAGA_URL": self.api.url,
            "SAGA_KEY": self._key,
            "SAGA_CONFIG": "/nowhere",
            "SAGA_DATABASE__URL": "",
            "SAGA_KAFKA__BOOTSTRAP_SERVERS": "",
            **(env or {}),
        }
        outside = Outside(interactive=typed is not None)
        return CliRunner().invoke(app, list(words), input=typed, env=environment, obj=outside, prog_name="saga")

    def json(self, *words: str) -> Any:
        """What a command that ends well says as JSON."""
        done = self.run(*words, "-o", "json")
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    def started(self, number: str, *words: str) -> str:
        """Start an order; its id."""
        given = order(number)
        saga = self.json("start", given["definition"], "--input", json.dumps(given["input"]), *words)
        return str(saga["id"])

    def suspended(self, number: str) -> str:
        """Start an order and suspend it behind the coordinator's back; its id."""
        saga_id = self.started(number)
        self.api.fetch(SUSPEND, saga_id)
        return saga_id
