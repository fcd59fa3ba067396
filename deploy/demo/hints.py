"""What `KEEP=1` prints: where everything is, and lines to try."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from deploy.demo.site import Site
from deploy.demo.stories import ADDRESS_NOT_SERVED, DEFINITION, order_stories, orders_of
from deploy.local.places import PROJECT


def hints(site: Site, logs: Path) -> Iterator[str]:
    """Write the lines, each ready to be copied into a shell in the project's folder."""
    api, environment = site.api_url, site.environment
    first_id, version = _read('["sagas"][0]["id"]'), _read('["version"]')
    yield f"REST API   {api}/v1/sagas (described by {api}/openapi.json)"
    yield f"metrics    {api}/metrics, health at {api}/readyz"
    yield f"Kafka      {environment['SAGA_KAFKA__BOOTSTRAP_SERVERS']}, topics {site.topic_prefix}*"
    yield f"Postgres   {site.database_url}"
    yield f"logs       {logs}"
    yield ""
    yield "# start an order, and look at it by its business key"
    yield _start(api, "my-order-1", {})
    yield _curl(f"{api}/v1/sagas?business_key=my-order-1")
    yield f"SAGA=$(curl -s '{api}/v1/sagas?business_key=my-order-1' | {first_id})"
    yield f'curl -s "{api}/v1/sagas/$SAGA?include=log"'
    yield ""
    yield "# an order that cannot be shipped, while refunds fail: after some seconds it is suspended"
    yield f"export SAGA_DATABASE__URL={shlex.quote(site.database_url)}"
    faults = f"{_python()} -m participants.kit.faults"
    yield f"{faults} set payment fail_undo --command RefundPayment --match my-order-2"
    yield _start(api, "my-order-2", {"address": ADDRESS_NOT_SERVED})
    yield _curl(f"{api}/v1/sagas?status=suspended")
    yield ""
    yield "# repair payment, and let the saga go on"
    yield f"{faults} clear payment"
    yield f"SAGA=$(curl -s '{api}/v1/sagas?status=suspended' | {first_id})"
    yield f'VERSION=$(curl -s "{api}/v1/sagas/$SAGA" | {version})'
    yield (
        f"curl -s -X POST \"{api}/v1/sagas/$SAGA/retry\" -H 'content-type: application/json'"
        ' -d "{\\"reason\\": \\"refunds work again\\", \\"expected_version\\": $VERSION}"'
    )


def _read(where: str) -> str:
    """Write the command that takes one value out of an answer; curl may be all that a machine has."""
    return f"{_python()} -c 'import json, sys; print(json.load(sys.stdin){where})'"


def _python() -> str:
    executable = Path(sys.executable)
    return str(executable.relative_to(PROJECT) if executable.is_relative_to(PROJECT) else executable)


def _curl(url: str) -> str:
    return f"curl -s '{url}'"


def _start(api: str, order_id: str, differs: dict[str, object]) -> str:
    good = next(orders_of(order_stories(1)[0]))
    body = {"definition": DEFINITION, "input": {**good.input, "order_id": order_id, **differs}}
    return f"curl -s -X POST '{api}/v1/sagas' -H 'content-type: application/json' -d {shlex.quote(json.dumps(body))}"
