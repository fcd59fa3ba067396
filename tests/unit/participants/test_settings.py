"""What a participant reads from its environment, which it shares with the coordinator."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer

from coordinator import settings as coordinators
from participants.kit.clients import client_options
from participants.kit.consumer import Consumer
from participants.kit.publisher import Publisher
from participants.kit.runner import main
from participants.kit.settings import KafkaSettings, Settings, SettingsWrong, read_settings
from participants.notification.handlers import notification

SECURITY = ("security_protocol", "sasl_mechanism", "username", "password", "ca_file")
LOGIN = {
    "SAGA_KAFKA__SECURITY_PROTOCOL": "SASL_SSL",
    "SAGA_KAFKA__SASL_MECHANISM": "SCRAM-SHA-256",
    "SAGA_KAFKA__USERNAME": "ann",
    "SAGA_KAFKA__PASSWORD": "s3cret",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Give an environment without settings."""
    for name in [name for name in os.environ if name.startswith("SAGA_")]:
        monkeypatch.delenv(name)
    return monkeypatch


async def nothing() -> None: ...


def consumer(settings: Settings) -> AIOKafkaConsumer:
    """Build the client of a consumer that is not started."""
    return Consumer(settings, "payment", nothing, nothing)._build()


def test_both_sides_mean_the_same_by_security() -> None:
    """The variables that say how Kafka is reached have the coordinator's names and defaults."""
    ours, theirs = KafkaSettings.model_fields, coordinators.KafkaSettings.model_fields
    assert {name: ours[name].default for name in SECURITY} == {name: theirs[name].default for name in SECURITY}


async def test_clients_log_in(environment: pytest.MonkeyPatch) -> None:
    """Consumer and producer use the protocol, the mechanism and the password of the environment."""
    for name, value in LOGIN.items():
        environment.setenv(name, value)
    settings = read_settings()
    client = consumer(settings)._client
    expected: dict[str, Any] = {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-256",
        "sasl_plain_username": "ann",
        "sasl_plain_password": "s3cret",
    }
    assert {name: getattr(client, f"_{name}") for name in expected} == expected
    assert client._ssl_context is not None
    options = Publisher(settings.kafka, "payment")._options
    assert {name: options[name] for name in expected} == expected
    assert "s3cret" not in repr(settings)


async def test_an_open_broker_is_spoken_to_openly() -> None:
    """Without security settings there is neither a login nor TLS."""
    options = client_options(KafkaSettings(), "payment")
    assert options["security_protocol"] == "PLAINTEXT"
    assert not [name for name in options if name.startswith(("sasl", "ssl"))]


@pytest.mark.parametrize(
    ("name", "value"),
    [("SECURITY_PROTOCOL", "TLS"), ("SASL_MECHANISM", "GSSAPI"), ("CA_FILE", "/no/such/file")],
)
def test_a_wrong_setting_is_named(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    """A wrong setting ends the process with exit code 2 and a message that names it."""
    environment.setenv(f"SAGA_KAFKA__{name}", value)
    with pytest.raises(SystemExit) as ended:
        main(notification, [])
    assert ended.value.code == 2
    assert f"SAGA_KAFKA__{name}" in capsys.readouterr().err


def test_a_login_needs_a_name_and_a_password(environment: pytest.MonkeyPatch) -> None:
    """SASL without a password is refused at start, and the message shows no secret."""
    environment.setenv("SAGA_KAFKA__SECURITY_PROTOCOL", "SASL_SSL")
    environment.setenv("SAGA_KAFKA__PASSWORD", "s3cret")
    with pytest.raises(SettingsWrong, match="needs USERNAME and PASSWORD") as wrong:
        read_settings()
    assert "s3cret" not in str(wrong.value)


def test_a_file_that_is_no_certificate_is_named(tmp_path: Path) -> None:
    """A CA_FILE without certificates is a wrong setting, not a connection that fails for ever."""
    file = tmp_path / "ca.pem"
    file.write_text("no certificate")
    with pytest.raises(SettingsWrong, match="SAGA_KAFKA__CA_FILE"):
        client_options(KafkaSettings(security_protocol="SSL", ca_file=file), "payment")


async def test_one_environment_serves_both_sides(environment: pytest.MonkeyPatch) -> None:
    """The participant's own settings disturb no coordinator, and the coordinator's disturb no participant."""
    environment.setenv("SAGA_PARTICIPANT__SESSION_TIMEOUT_MS", "6000")
    environment.setenv("SAGA_PARTICIPANT__FETCH_MAX_WAIT_MS", "20")
    environment.setenv("SAGA_KAFKA__GROUP_ID", "others")
    assert coordinators.read_settings().kafka.group_id == "others"
    client = consumer(read_settings())
    assert (client._session_timeout_ms, client._fetch_max_wait_ms) == (6000, 20)
