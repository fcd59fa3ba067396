"""Access tokens at a running coordinator, which fetches the issuer's keys over HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from deploy.local.stack import LocalStack
from tests.integration.api.guarded import Guarded, open_guarded
from tests.unit.services.issuers import AUDIENCE, ISSUER, KEYS, ROLES
from tests.unit.services.test_oidc import REFUSED, TAKEN

HEAD_MAX = 16 * 1024  # a longer head is no request any more


class _Keys(BaseHTTPRequestHandler):
    """Shows the issuer's keys."""

    def do_GET(self) -> None:
        """Answer whatever is asked."""
        body = json.dumps(KEYS).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
        """Say nothing."""


@pytest.fixture(scope="module")
def guarded(stack: LocalStack) -> Iterator[Guarded]:
    """Give a coordinator that takes the tokens of an issuer."""
    server = HTTPServer(("127.0.0.1", 0), _Keys)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    settings = {
        "SAGA_OIDC__ISSUER": ISSUER,
        "SAGA_OIDC__AUDIENCE": AUDIENCE,
        "SAGA_OIDC__JWKS_URL": f"http://127.0.0.1:{server.server_port}/keys",
        "SAGA_OIDC__ROLES": json.dumps(ROLES),
        "SAGA_API__FAILURES_BURST": "1000000",
    }
    try:
        with open_guarded(stack, **settings) as running:
            yield running
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


@pytest.mark.parametrize("token", TAKEN.values(), ids=TAKEN)
def test_a_token_of_the_issuer_lets_its_owner_in(guarded: Guarded, token: str) -> None:
    """Whom the issuer has signed for is let in, with the role that the claims say."""
    known = guarded.get("/v1/whoami", token)
    assert (known.status, known.json["actor"], known.json["role"]) == (200, "oidc:ann", "operator")


@pytest.mark.parametrize("token", REFUSED.values(), ids=REFUSED)
def test_a_token_that_is_wrong_lets_nobody_in(guarded: Guarded, token: str) -> None:
    """No algorithm but the issuer's, no other audience, nothing that has expired, no key by a path: 401 each time."""
    answer = guarded.get("/v1/whoami", token)
    if len(token) > HEAD_MAX:
        assert answer.status == 431
        return
    assert answer.status == 401, answer.body
    assert answer.headers["www-authenticate"].startswith("Bearer ")
