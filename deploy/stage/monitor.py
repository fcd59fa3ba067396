"""The stage's Prometheus: it scrapes the coordinator, with the alerts that ship in a hurry, and says what fires."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import httpx
import yaml

from deploy.local.choice import LocalStackError
from deploy.local.processes import free_port, http_ok
from deploy.local.prometheus import find_tool, hurried_rules
from deploy.local.stack import LocalStack

READY_S: Final = 30.0
ASK_S: Final = 10.0


def start_prometheus(stack: LocalStack, target: str) -> str:
    """Start a server that scrapes `target` (host:port) every second, and return its URL; raises LocalStackError."""
    folder = stack.run.data("prometheus")
    (folder / "alerts.yml").write_text(hurried_rules())
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["alerts.yml"],
        "scrape_configs": [{"job_name": "coordinator", "static_configs": [{"targets": [target]}]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"
    child = stack.processes.start(
        "prometheus",
        [
            find_tool("prometheus"),
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={address}",
        ],
    )
    child.wait_until(http_ok(f"http://{address}/-/ready"), timeout_s=READY_S, what="ready")
    return f"http://{address}"


def firing(url: str) -> Iterator[str]:
    """Ask a Prometheus what fires, and say it line by line; raises LocalStackError when it does not answer."""
    try:
        answer = httpx.get(f"{url}/api/v1/alerts", timeout=ASK_S, trust_env=False).raise_for_status()
    except httpx.HTTPError as error:
        raise LocalStackError(f"{url} does not answer: {error}") from error
    alerts = [alert for alert in answer.json()["data"]["alerts"] if alert["state"] == "firing"]
    for alert in sorted(alerts, key=lambda each: str(each["labels"]["alertname"])):
        yield from _told(alert)
    if not alerts:
        yield "nothing fires"


def _told(alert: Mapping[str, Any]) -> Iterator[str]:
    labels, words = alert["labels"], alert["annotations"]
    yield f"{labels['alertname']} ({labels['severity']}): {words['summary']}"
    yield f"    {words['runbook_url']}"
