"""Dockerfile and docker-compose.yml as they are written: what must hold before anybody runs them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from coordinator.remote.contexts import read_config
from coordinator.settings import MetricsSettings
from deploy.local.places import PROJECT

COMPOSE: dict[str, Any] = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ONE_SHOTS = {"migrate", "topics", "keys"}
LONG_RUNNING = set(SERVICES) - ONE_SHOTS
OUR_IMAGE = "saga-coordinator:"
SECRET = re.compile(r"password|passwd|secret|token|credential|api_?key", re.IGNORECASE)
PARTICIPANTS = {file.parent.name for file in (PROJECT / "participants").glob("*/__main__.py")}
VARIABLE = re.compile(r"\$\{[A-Z_]+:-[^}]+\}")


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions, (NAME, arguments), continued lines joined."""
    text = (PROJECT / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(name, arguments.strip()) for name, _, arguments in (line.partition(" ") for line in joined.splitlines())]


def final_stage() -> list[tuple[str, str]]:
    """Return the instructions of the last stage: what ends up in the image."""
    every = instructions()
    start = max(place for place, (name, _) in enumerate(every) if name == "FROM")
    return every[start:]


def test_the_image_runs_as_a_fixed_ordinary_user() -> None:
    """The last word of the Dockerfile about users is the number 10001, and nothing is owned by it."""
    users = [arguments for name, arguments in final_stage() if name == "USER"]
    assert users == ["10001:10001"]
    assert not [arguments for name, arguments in final_stage() if name == "COPY" and "--chown" in arguments]


def test_signals_reach_the_program() -> None:
    """Commands are in exec form, without a shell that would swallow SIGTERM."""
    last = dict(final_stage())
    assert json.loads(last["CMD"])[0] == "saga"
    assert last["STOPSIGNAL"] == "SIGTERM"
    assert "ENTRYPOINT" not in last


def test_the_health_check_needs_nothing_but_python() -> None:
    """The image's health check is the Python script that is copied into it."""
    [check] = [arguments for name, arguments in final_stage() if name == "HEALTHCHECK"]
    command = json.loads(check[check.index("CMD ") + 4 :])
    assert command == ["python", "/app/healthcheck.py"]


def test_packages_are_the_pinned_ones() -> None:
    """All packages come from requirements/base.txt with hashes, as wheels, from whatever index the machine has."""
    installs = [
        arguments for name, arguments in instructions() if name == "RUN" and re.search(r"\binstall\b", arguments)
    ]
    assert len(installs) == 1
    assert "--require-hashes" in installs[0]
    assert "--only-binary :all:" in installs[0]
    assert not re.search(r"index-url|trusted-host|find-links|https?:", installs[0])
    assert ("COPY", "requirements/base.txt /tmp/requirements.txt") in instructions()


def test_the_image_has_a_builder_that_stays_behind() -> None:
    """Two stages of one base image that a release can pin; only sources and packages cross over."""
    assert instructions()[0] == ("ARG", "PYTHON_IMAGE=python:3.13-slim")
    assert [arguments for name, arguments in instructions() if name == "FROM"] == [
        "${PYTHON_IMAGE} AS builder",
        "${PYTHON_IMAGE}",
    ]
    copies = [arguments for name, arguments in final_stage() if name in {"COPY", "ADD"}]
    assert copies == ["--from=builder /opt/venv /opt/venv", "--from=builder /app /app"]


def test_what_the_image_copies_is_sent_to_the_engine() -> None:
    """.dockerignore lets through exactly what the Dockerfile copies, and all of that exists."""
    copied = {
        arguments.split()[0] for name, arguments in instructions() if name == "COPY" and "--from" not in arguments
    }
    lines = (PROJECT / ".dockerignore").read_text().splitlines()
    allowed = {line[1:].rstrip("/") for line in lines if line.startswith("!")}
    assert "*" in lines
    assert {source for source in copied if not (PROJECT / source).exists()} == set()
    assert {source for source in copied if not any(_within(source, folder) for folder in allowed)} == set()
    assert {folder for folder in allowed if not any(_within(source, folder) for source in copied)} == set()


def test_no_secret_is_written_down() -> None:
    """Dockerfile and compose file hold no secret; a password is a variable with a default for a sandbox."""
    assert not [line for name, line in instructions() if name in {"ARG", "ENV"} and SECRET.search(line)]
    for name, service in SERVICES.items():
        for key, value in service.get("environment", {}).items():
            if SECRET.search(key):
                assert VARIABLE.fullmatch(value), f"{name}: {key}"
            for password in re.findall(r"://[^:/@]+:([^@]+)@", str(value)):
                assert VARIABLE.fullmatch(password), f"{name}: {key}"


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_is_locked_down(name: str) -> None:
    """Read-only root, no capability, none to be gained, a limit on memory and processes, no way to the host."""
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["pids_limit"] > 0
    assert service["mem_limit"]
    for forbidden in ("privileged", "cap_add", "network_mode", "pid", "ipc", "devices", "userns_mode"):
        assert forbidden not in service
    assert "docker.sock" not in json.dumps(service)
    assert service.get("user", "") not in {"root", "0"}


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_ports_are_published_on_this_machine_only(name: str) -> None:
    """A port is 127.0.0.1:${NAME_PORT:-default}:inside, whoever publishes it."""
    for port in SERVICES[name].get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\$\{[A-Z]+_PORT:-[0-9]+\}:[0-9]+", port)


def test_nobody_is_served_without_a_token() -> None:
    """The coordinator asks everybody, its one port is published on loopback, and an administrator's key is provided."""
    coordinator = SERVICES["coordinator"]
    assert coordinator["environment"]["SAGA_API__HOST"] == "0.0.0.0"
    assert coordinator["environment"]["SAGA_API__AUTHENTICATION"] == "required"
    assert not [name for service in SERVICES.values() for name in service.get("environment", {}) if "INSECURE" in name]
    assert SERVICES["keys"]["command"][:3] == ["saga", "keys", "bootstrap"]
    [(volume, folder)] = [mount.split(":") for mount in SERVICES["keys"]["volumes"]]
    assert f"{volume}:{folder}:ro" in coordinator["volumes"]
    assert f"mkdir --mode 0700 {folder} && chown 10001:10001 {folder}" in dict(final_stage())["RUN"]
    assert SERVICES["keys"]["command"][-1].startswith(f"{folder}/")
    assert [port.split(":")[0] for port in coordinator["ports"]] == ["127.0.0.1"]


@pytest.mark.parametrize("name", sorted(LONG_RUNNING))
def test_what_runs_on_has_a_health_check_and_comes_back(name: str) -> None:
    """A service has a health check, its own or the image's, and is started again when it ends."""
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    check = service.get("healthcheck")
    if check is None:
        assert service["image"].startswith(OUR_IMAGE)
        assert service["command"][:2] == ["saga", "serve"], "the image's health check asks the coordinator's /readyz"
    else:
        assert check["test"][0] == "CMD"
        # Older engines do not know it, and refuse the whole file.
        assert "start_interval" not in check


def test_the_coordinator_does_not_own_its_tables() -> None:
    """Only what makes tables has the owner's URL; the coordinator's role is the one that the migrations let in."""
    coordinator, migrate = SERVICES["coordinator"]["environment"], SERVICES["migrate"]["environment"]
    assert coordinator["SAGA_DATABASE__URL"] == migrate["SAGA_DATABASE__URL"]
    assert SERVICES["keys"]["environment"] == {"SAGA_DATABASE__URL": migrate["SAGA_DATABASE__URL"]}
    assert not [name for name in SERVICES["topics"]["environment"] if name.startswith("SAGA_DATABASE__")]
    assert "SAGA_DATABASE__MIGRATION_URL" not in coordinator
    roles = [urlsplit(migrate[f"SAGA_DATABASE__{name}"]).username for name in ("URL", "MIGRATION_URL")]
    assert roles == ["saga_app", SERVICES["postgres"]["environment"]["POSTGRES_USER"]]


def test_the_start_is_ordered() -> None:
    """Servers, then migrations and topics, each to its end, then what needs them."""
    done = {"condition": "service_completed_successfully"}
    healthy = {"condition": "service_healthy"}
    assert SERVICES["migrate"]["depends_on"] == {"postgres": healthy}
    assert SERVICES["topics"]["depends_on"] == {"kafka": healthy, "migrate": done}
    assert SERVICES["keys"]["depends_on"] == {"migrate": done}
    assert SERVICES["coordinator"]["depends_on"] == {"migrate": done, "topics": done, "keys": done}
    for name in PARTICIPANTS:
        assert SERVICES[name]["depends_on"] == {"postgres": healthy, "topics": done}
    for name in ONE_SHOTS:
        assert "restart" not in SERVICES[name]
        assert SERVICES[name]["healthcheck"] == {"disable": True}


def test_the_image_is_built_once() -> None:
    """One service builds the image, and every other one that runs it starts after that one, also when started alone."""
    ours = {name for name, service in SERVICES.items() if service["image"].startswith(OUR_IMAGE)}
    [builder] = [name for name, service in SERVICES.items() if "build" in service]
    for name in ours - {builder}:
        assert builder in _before(name), name


@pytest.mark.parametrize("name", sorted(PARTICIPANTS))
def test_every_participant_has_a_service(name: str) -> None:
    """A participant that ships is a service of its name, with a stable name in its group and its own limit."""
    service = SERVICES[name]
    ready = service["healthcheck"]["test"][-1]
    what = ["python", "-m", f"participants.{name}", "--ready-file", ready, "--instance", f"{name}-1"]
    assert service["command"] == what
    assert service["image"] == SERVICES["coordinator"]["image"]
    assert service["mem_limit"] == "256m"


def test_images_are_pinned() -> None:
    """No image floats: each has a tag, and none is `latest`."""
    for service in SERVICES.values():
        name, _, tag = service["image"].partition(":")
        assert tag, name
        assert tag != "latest", name
        assert "pull_policy" not in service
    assert "version" not in COMPOSE


def test_data_is_kept_in_named_volumes() -> None:
    """What Postgres, Kafka and Prometheus store, and the key, outlives containers; the rest is mounted read-only."""
    named = set()
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source, _, target = volume.partition(":")
            if source.startswith("./"):
                assert target.endswith(":ro")
                assert (PROJECT / source).exists()
            else:
                named.add(source)
    assert named == set(COMPOSE["volumes"]) == {"postgres-data", "kafka-data", "prometheus-data", "admin-key"}


def test_kafka_makes_no_topic_by_accident() -> None:
    """A misspelt topic is an error, not a new topic with one partition."""
    assert SERVICES["kafka"]["environment"]["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"


def test_prometheus_asks_where_the_coordinator_listens() -> None:
    """The scrape target is the compose service's name and its metrics port, which nobody outside reaches."""
    config = yaml.safe_load((PROJECT / "deploy" / "prometheus" / "prometheus.yml").read_text())
    jobs = {job["job_name"]: job["static_configs"][0]["targets"] for job in config["scrape_configs"]}
    assert jobs["coordinator"] == [f"coordinator:{MetricsSettings().port}"]
    assert SERVICES["coordinator"]["environment"]["SAGA_METRICS__HOST"] == "0.0.0.0"
    assert [port.rpartition(":")[2] for port in SERVICES["coordinator"]["ports"]] == ["8080"]


def test_the_commands_inside_have_a_server_and_a_key() -> None:
    """In the coordinator's container `saga list` asks the coordinator, with the administrator's key."""
    coordinator = SERVICES["coordinator"]
    [(source, folder)] = [mount.split(":")[:2] for mount in coordinator["volumes"] if mount.startswith("./")]
    path = Path(coordinator["environment"]["SAGA_CONFIG"])
    assert str(path.parent) == folder
    server = read_config(PROJECT / source / path.name)
    assert server.current is not None
    context = server.contexts[server.current]
    assert context.key_file == SERVICES["keys"]["command"][-1]
    assert (urlsplit(context.url).hostname, urlsplit(context.url).port) == ("coordinator", 8080)


def _before(name: str) -> set[str]:
    direct = set(SERVICES[name].get("depends_on", {}))
    return direct.union(*(_before(each) for each in direct))


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")
