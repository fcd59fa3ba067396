"""What docker-compose.yml gives somebody on call: a door that is shut, commands that work inside, alerts that watch."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
import yaml

from deploy.local.places import PROJECT
from tests.docker.api import end_of, start, wait_for
from tests.docker.composition import COORDINATORS_AND_PARTICIPANTS, LONG_RUNNING, TRANSFERS_AND_TRIPS, Composition
from tests.e2e.orders import order

pytestmark = pytest.mark.timeout(1200)  # the first test builds the image and starts everything

APPLICATION = "saga_app"
SEEN_S = 60
"""Prometheus has scraped by then, and evaluated its rules."""


def test_nobody_is_served_without_a_token(composition: Composition) -> None:
    """The published port answers 401 to nobody and to a made-up token, and 200 to the key that compose has made."""
    for token in ("", f"saga_00000000_{'x' * 48}"):
        with composition.http("coordinator", token) as stranger:
            refused = stranger.get("/v1/sagas")
        assert refused.status_code == 401
        assert refused.headers["content-type"] == "application/problem+json"
    with composition.http("coordinator") as api:
        assert api.get("/v1/sagas").status_code == 200
        assert api.get("/v1/whoami").json()["authentication"] == "required"


def test_the_key_is_nowhere_but_in_its_file(composition: Composition) -> None:
    """The administrator's token is in no log, variable or label, and only the coordinator's container can read it."""
    token = composition.token()
    assert token not in composition.compose("logs", "--no-color").stdout
    for service in LONG_RUNNING:
        assert token not in json.dumps(composition.inspect(service))
    for service in TRANSFERS_AND_TRIPS:
        assert composition.execute(service, "cat", "/run/keys/admin")[0] != 0


def test_the_coordinator_is_not_told_the_owners_password(composition: Composition) -> None:
    """Who gets into the coordinator's container finds the password of the application's role only."""
    variables = composition.inspect("coordinator")["Config"]["Env"]
    assert [text for text in variables if composition.application_password in text]
    assert not [text for text in variables if composition.owner_password in text]


@pytest.mark.parametrize(
    ("statement", "refusal"),
    [
        ("UPDATE audit_log SET reason = 'nothing'", "permission denied for table audit_log"),
        ("DELETE FROM audit_log", "permission denied for table audit_log"),
        ("TRUNCATE audit_log", "permission denied for table audit_log"),
        ("ALTER TABLE audit_log DISABLE TRIGGER ALL", "must be owner of table audit_log"),
        ("DROP TABLE audit_log", "must be owner of table audit_log"),
        ("UPDATE saga_log SET event = 'nothing'", "permission denied for table saga_log"),
        ("CREATE TABLE mine (id int)", "permission denied for schema public"),
    ],
)
def test_the_coordinators_role_cannot_change_what_was_recorded(
    composition: Composition, statement: str, refusal: str
) -> None:
    """As the coordinator's role, with its password, the audit can be read, and neither changed nor done away with."""
    before = _acts(composition)
    assert before > 0
    code, said = _sql(composition, statement)
    assert (code, refusal in said) == (1, True), said
    assert _acts(composition) >= before


def test_a_wrong_password_is_refused(composition: Composition) -> None:
    """The role's password counts: another one does not let in."""
    code, said = _sql(composition, "SELECT 1", password="wrong")
    assert code == 2
    assert "password authentication failed" in said


def test_an_order_is_halted_found_and_resumed_with_the_commands_inside(composition: Composition) -> None:
    """`docker compose exec coordinator saga ...` needs no key, address or file: it starts, halts, lists and resumes."""
    composition.stop("shipping", grace_s=15)
    started = _saga(composition, "start", "OrderFulfillment", "--input", json.dumps(order()), "-o", "json")
    saga_id = json.loads(started)["id"]
    _saga(composition, "suspend", saga_id, "--reason", "the customer called", "--yes")
    suspended = _saga(composition, "list", "--status", "suspended", "-o", "jsonl").splitlines()
    assert saga_id in {json.loads(line)["id"] for line in suspended}
    composition.up()
    _saga(composition, "resume", saga_id, "--reason", "the customer called again", "--yes")
    assert json.loads(_saga(composition, "show", saga_id, "-o", "json"))["id"] == saga_id
    with composition.http("coordinator") as api:
        assert end_of(api, saga_id)["status"] == "completed"
    audited = [json.loads(line) for line in _saga(composition, "audit", "--saga", saga_id, "-o", "jsonl").splitlines()]
    reasons = {(row["actor"], row["reason"]) for row in audited}
    assert {("key:admin", "the customer called"), ("key:admin", "the customer called again")} <= reasons


def test_the_doctor_finds_nothing_wrong(composition: Composition) -> None:
    """Inside, `saga doctor` reaches the API, Postgres and Kafka, and has nothing bad to say about a healthy stack."""
    findings = json.loads(_saga(composition, "doctor", "-o", "json"))
    assert {"rights", "migrations", "topics", "server", "key"} <= {finding["check"] for finding in findings}
    assert not [finding for finding in findings if finding["state"] == "bad"]


def test_a_container_of_its_own_can_ask(composition: Composition) -> None:
    """`docker compose run` reaches the coordinator that is up, with the same key."""
    asked = composition.compose("run", "--rm", "--no-deps", "-T", "coordinator", "saga", "whoami", "-o", "json")
    assert asked.returncode == 0, asked.stderr
    assert json.loads(asked.stdout)["actor"] == "key:admin"


def test_prometheus_has_loaded_every_rule(composition: Composition) -> None:
    """Each alert of deploy/prometheus/alerts.yml is evaluated, without an error."""
    written = yaml.safe_load((PROJECT / "deploy" / "prometheus" / "alerts.yml").read_text())
    with composition.http("prometheus") as prometheus:
        rules = wait_for(lambda: _evaluated(prometheus), SEEN_S, "all rules to be evaluated")
    assert {rule["name"] for rule in rules} == {rule["alert"] for group in written["groups"] for rule in group["rules"]}
    assert {(rule["health"], rule.get("lastError", "")) for rule in rules} == {("ok", "")}


def test_prometheus_reaches_every_target(composition: Composition) -> None:
    """Coordinator and Prometheus are scraped."""

    def all_up() -> bool:
        with composition.http("prometheus") as prometheus:
            targets = prometheus.get("/api/v1/targets").raise_for_status().json()["data"]["activeTargets"]
        return sorted((target["labels"]["job"], target["health"]) for target in targets) == [
            ("coordinator", "up"),
            ("prometheus", "up"),
        ]

    wait_for(all_up, SEEN_S, "both targets to be up")


def test_no_alert_has_a_cause_on_a_healthy_stack(composition: Composition) -> None:
    """With everything up and an order done, no alert's condition holds: what they look at is there, and in order."""
    with composition.http("coordinator") as api:
        assert end_of(api, start(api, order()))["status"] == "completed"
    with composition.http("prometheus") as prometheus:
        rules = wait_for(lambda: _evaluated(prometheus), SEEN_S, "all rules to be evaluated")

        def nothing_holds() -> bool:
            return not any(_holds(prometheus, rule["query"]) for rule in rules)

        wait_for(nothing_holds, SEEN_S, "every alert's condition to be false")


def test_up_once_more_changes_nothing(composition: Composition) -> None:
    """A second `docker compose up` leaves every container as it is, and the key too."""
    before = {service: composition.container(service).id for service in LONG_RUNNING}
    token = composition.token()
    composition.up()
    assert {service: composition.container(service).id for service in LONG_RUNNING} == before
    assert composition.token() == token


def test_all_of_ours_run_one_image(composition: Composition) -> None:
    """Coordinator and participants are the same image, built once."""
    assert len({composition.inspect(service)["Image"] for service in COORDINATORS_AND_PARTICIPANTS}) == 1


def _saga(composition: Composition, *arguments: str) -> str:
    """Run a command in the coordinator's container as the compose file's header says, and return what it printed."""
    done = composition.compose("exec", "-T", "coordinator", "saga", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in done.stderr
    return done.stdout


def _sql(composition: Composition, statement: str, *, password: str | None = None) -> tuple[int, str]:
    """Run a statement as the application's role, by the address at which the server asks for a password."""
    command = ["psql", "--host=postgres", f"--username={APPLICATION}", "--dbname=saga", "--no-password", "-tA"]
    shown = {"PGPASSWORD": password or composition.application_password}
    code, output = composition.execute("postgres", *command, f"--command={statement}", environment=shown)
    return code, output.strip()


def _acts(composition: Composition) -> int:
    code, counted = _sql(composition, "SELECT count(*) FROM audit_log")
    assert code == 0, counted
    return int(counted)


def _evaluated(prometheus: httpx.Client) -> list[dict[str, Any]] | None:
    groups = prometheus.get("/api/v1/rules").raise_for_status().json()["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    return rules if rules and all(rule["health"] != "unknown" for rule in rules) else None


def _holds(prometheus: httpx.Client, expression: str) -> bool:
    answer = prometheus.get("/api/v1/query", params={"query": expression}).raise_for_status()
    return bool(answer.json()["data"]["result"])
