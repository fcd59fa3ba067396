"""A real Prometheus that scrapes real coordinators, with the rules of deploy/prometheus in a hurry."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import httpx
import yaml

from deploy.local.processes import Child, free_port, http_ok
from deploy.local.prometheus import find_tool, hurried_rules
from deploy.local.stack import LocalStack
from tests.e2e.world import Coordinator, eventually

FIRES_S = 60.0


class Prometheus:
    """A server of this test, which is told whom to scrape while it runs."""

    def __init__(self, stack: LocalStack, folder: Path) -> None:
        self._stack = stack
        self._folder = folder
        self._targets = folder / "targets.yml"
        self._port = free_port()
        self._child: Child | None = None
        self.http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{self._port}", timeout=10, trust_env=False)

    def start(self) -> None:
        """Start the server with a copy of the rules."""
        (self._folder / "alerts.yml").write_text(hurried_rules())
        self._targets.write_text("[]")
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["alerts.yml"],
            "scrape_configs": [
                {
                    "job_name": "coordinator",
                    "file_sd_configs": [{"files": ["targets.yml"], "refresh_interval": "1s"}],
                }
            ],
        }
        (self._folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self._child = self._stack.processes.start(
            f"prometheus-{self._port}",
            [
                find_tool("prometheus"),
                f"--config.file={self._folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={self._folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self._port}",
            ],
        )
        ready = http_ok(f"http://127.0.0.1:{self._port}/-/ready")
        self._child.wait_until(ready, timeout_s=30, what="ready")

    def scrape(self, coordinators: Sequence[Coordinator]) -> None:
        """Scrape these from now on, and no others."""
        addresses = [f"127.0.0.1:{each.metrics_port}" for each in coordinators]
        new = self._folder / "targets.new"
        new.write_text(yaml.safe_dump([{"targets": addresses}]))
        new.replace(self._targets)

    async def close(self) -> None:
        """End it."""
        await self.http.aclose()
        if self._child is not None:
            self._child.kill()

    async def firing(self) -> dict[str, list[dict[str, str]]]:
        """The labels of what fires, by alert."""
        found: dict[str, list[dict[str, str]]] = {}
        for alert in (await self.http.get("/api/v1/alerts")).json()["data"]["alerts"]:
            if alert["state"] == "firing":
                found.setdefault(alert["labels"]["alertname"], []).append(alert["labels"])
        return found

    async def fires(self, name: str, within_s: float = FIRES_S, **labels: str) -> None:
        """Wait until an alert fires with these labels."""

        async def does() -> bool:
            return any(labels.items() <= found.items() for found in (await self.firing()).get(name, []))

        await eventually(does, what=f"{name} fires", within_s=within_s, explain=self.firing)

    async def is_silent(self, *names: str, within_s: float = FIRES_S) -> None:
        """Wait until none of these alerts fires."""

        async def is_so() -> bool:
            return not set(names) & set(await self.firing())

        await eventually(is_so, what=f"{', '.join(names)} silent", within_s=within_s, explain=self.firing)
