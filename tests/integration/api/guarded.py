"""A coordinator that asks everybody for a token, and somebody of each role who has one."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from coordinator.api.access import Role
from deploy.local.places import PROJECT
from deploy.local.stack import LocalStack
from tests.integration.api.server import Answer, Api, start_api


class Guarded:
    """A running API, its first administrator's token, and tokens of each role."""

    def __init__(self, api: Api, admin: str) -> None:
        self.api = api
        self.tokens = {str(Role.ADMIN): admin}
        for role in (Role.VIEWER, Role.OPERATOR, Role.SERVICE):
            self.tokens[role] = self.made(name=f"a-{role}", role=role)["secret"]

    def made(self, **body: Any) -> dict[str, Any]:
        """Make a key as the administrator; the answer's body."""
        answer = self.post("/v1/keys", body)
        assert answer.status == 201, answer.body
        found: dict[str, Any] = answer.json
        return found

    def get(self, target: str, who: str = "admin") -> Answer:
        """Get a resource as somebody of a role, or with a token."""
        return self.api.send("GET", target, None, self._headers(who))

    def post(self, target: str, body: Any, who: str = "admin", headers: Mapping[str, str] | None = None) -> Answer:
        """Post a value as somebody of a role, or with a token."""
        return self.api.post(target, body, {**self._headers(who), **(headers or {})})

    def _headers(self, who: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens.get(who, who)}"}


@contextmanager
def open_guarded(stack: LocalStack, **settings: str) -> Iterator[Guarded]:
    """Start an API with a database and topics of its own that asks everybody for a token."""
    mark = secrets.token_hex(4)
    database = f"keys_{mark}"
    chosen = {"SAGA_API__AUTHENTICATION": "required", **settings}
    api = start_api(stack, f"keys-{mark}", database, f"keys{mark}.", **chosen)
    done = saga(api.environment, "keys", "bootstrap", "root")
    assert done.returncode == 0, done.stderr
    yield Guarded(api, done.stdout.strip())
    api.child.stop()
    stack.postgres.drop_database(database)


def saga(environment: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as its own process, with stdout and stderr apart."""
    return subprocess.run(
        [sys.executable, "-m", "coordinator", *arguments],
        cwd=PROJECT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
