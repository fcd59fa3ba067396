"""Settings, read once from the environment (prefix SAGA_, nested by a double underscore); see docs/settings.md."""

from __future__ import annotations

import contextlib
import difflib
import ipaddress
import os
import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from coordinator.errors import ConfigurationError

PREFIX = "SAGA_"
TOKEN_BYTES_MIN = 16
# Not ours, but often in the same environment: participants, tests, the compose file's tag, Debezium's connector.
_OTHERS = ("SAGA_PARTICIPANT__", "SAGA_TEST_", "SAGA_TAG", "SAGA_CDC_")
# Whose commands over the API these are: exact names, for what begins like them may be a slip of the pen.
_CLIENTS = ("SAGA_URL", "SAGA_KEY", "SAGA_CONFIG")
_ADDRESS = re.compile(r"(?:\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?", re.ASCII)


class KafkaSettings(BaseModel):
    """How to reach Kafka, and what the topics are like."""

    model_config = ConfigDict(extra="forbid")

    bootstrap_servers: str = "127.0.0.1:9092"
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    username: Annotated[str | None, Field(validate_default=True)] = None
    password: Annotated[SecretStr | None, Field(validate_default=True)] = None
    ca_file: str | None = None
    group_id: str = "saga-coordinator"
    participant_group: Annotated[str, Field(pattern=r"^([A-Za-z0-9._-]|\{prefix\}|\{participant\}){1,200}$")] = (
        "{prefix}{participant}"
    )
    instance_id: str | None = None
    replies_partitions: Annotated[int, Field(ge=1, le=1024)] = 16
    commands_partitions: Annotated[int, Field(ge=1, le=1024)] = 8
    events_partitions: Annotated[int, Field(ge=1, le=1024)] = 8
    dead_letter_partitions: Annotated[int, Field(ge=1, le=1024)] = 1
    replication: Annotated[int, Field(ge=1, le=9)] = 1
    retention_hours: Annotated[int, Field(ge=1, le=24 * 365)] = 7 * 24

    @field_validator("bootstrap_servers")
    @classmethod
    def _are_addresses(cls, value: str) -> str:
        for address in value.split(","):
            if not _is_address(address.strip()):
                raise ValueError(f"{address!r} is no address like host:9092")
        return value

    @field_validator("username", "password")
    @classmethod
    def _is_there_for_sasl(cls, value: str | SecretStr | None, info: ValidationInfo) -> str | SecretStr | None:
        protocol = info.data.get("security_protocol", "")
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if protocol.startswith("SASL") and not text:
            raise ValueError(f"SAGA_KAFKA__SECURITY_PROTOCOL={protocol} needs it")
        return value

    @field_validator("ca_file")
    @classmethod
    def _can_be_read(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                ssl.create_default_context(cafile=value)
            except OSError as error:
                raise ValueError(f"{value} holds no certificates that can be read: {error}") from error
        return value


class DatabaseSettings(BaseModel):
    """How to reach Postgres."""

    model_config = ConfigDict(extra="forbid")

    url: SecretStr = SecretStr("postgresql://127.0.0.1:5432/saga")
    migration_url: SecretStr | None = None
    pool_max: Annotated[int, Field(ge=1, le=200)] = 8
    log_retention_days: Annotated[int, Field(ge=1, le=3650)] = 90

    @property
    def owner_url(self) -> str:
        """The URL of the role that owns the tables and migrates them: the application's own where no other is set."""
        return (self.migration_url or self.url).get_secret_value()


class ApiSettings(BaseModel):
    """Where the API listens, and its limits."""

    model_config = ConfigDict(extra="forbid")

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    authentication: Literal["auto", "required"] = "auto"
    insecure: bool = False
    rate_per_second: Annotated[float, Field(ge=0, le=1_000_000)] = 1_000.0
    rate_burst: Annotated[int, Field(ge=1, le=1_000_000)] = 2_000
    failures_per_second: Annotated[float, Field(ge=0.1, le=100_000)] = 10.0
    failures_burst: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    body_bytes_max: Annotated[int, Field(ge=1024, le=16 * 1024 * 1024)] = 256 * 1024
    bulk_bytes_max: Annotated[int, Field(ge=1024, le=64 * 1024 * 1024)] = 4 * 1024 * 1024
    bulk_max: Annotated[int, Field(ge=1, le=10_000)] = 1_000
    body_timeout_seconds: Annotated[float, Field(gt=0, le=300)] = 10.0
    batch_sagas_max: Annotated[int, Field(ge=1, le=1_000_000)] = 100_000
    batch_rate: Annotated[int, Field(ge=1, le=10_000)] = 200
    batch_rate_max: Annotated[int, Field(ge=1, le=10_000)] = 1_000
    cursor_secret: Annotated[SecretStr | None, Field(min_length=32)] = None

    @field_validator("insecure")
    @classmethod
    def _is_not_both(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("authentication") == "required":
            raise ValueError("contradicts SAGA_API__AUTHENTICATION=required")
        return value


class OidcSettings(BaseModel):
    """Whose access tokens are taken, and what their claims mean here."""

    model_config = ConfigDict(extra="forbid")

    issuer: str | None = None
    audience: Annotated[str | None, Field(validate_default=True)] = None
    jwks_url: str | None = None
    actor_claim: Annotated[str, Field(min_length=1, max_length=200)] = "sub"
    role_claim: Annotated[str, Field(min_length=1, max_length=200)] = "roles"
    roles: Annotated[dict[str, Literal["viewer", "operator", "admin", "service"]], Field(validate_default=True)] = {}
    definitions_claim: Annotated[str | None, Field(min_length=1, max_length=200)] = None

    @field_validator("issuer", "jwks_url")
    @classmethod
    def _is_safe(cls, value: str | None) -> str | None:
        if value is not None and not is_safe_url(value):
            raise ValueError("must be an https URL; http is for loopback only")
        return value

    @field_validator("audience", "roles")
    @classmethod
    def _is_there_for_an_issuer(cls, value: Any, info: ValidationInfo) -> Any:
        if info.data.get("issuer") is not None and not value:
            raise ValueError("is needed with SAGA_OIDC__ISSUER")
        return value


class MetricsSettings(BaseModel):
    """Where /metrics, /livez and /readyz are, apart from the API; a token, if there is one, is wanted for /metrics."""

    model_config = ConfigDict(extra="forbid")

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 9464
    token_file: str | None = None

    @property
    def insecure(self) -> bool:
        """Beyond loopback nothing more is needed: what stands there are names of definitions, and numbers."""
        return True

    @property
    def token(self) -> bytes | None:
        """What a scraper has to show; None when anybody may scrape."""
        return None if self.token_file is None else _token(self.token_file)

    @field_validator("token_file")
    @classmethod
    def _holds_a_token(cls, value: str | None) -> str | None:
        if value is not None:
            _token(value)
        return value


class StreamSettings(BaseModel):
    """Streams of what happens, for clients that listen."""

    model_config = ConfigDict(extra="forbid")

    clients_max: Annotated[int, Field(ge=0, le=10_000)] = 500
    clients_per_actor_max: Annotated[int, Field(ge=0, le=10_000)] = 100
    heartbeat_seconds: Annotated[float, Field(ge=0.1, le=300)] = 15.0
    poll_seconds: Annotated[float, Field(ge=0.05, le=10)] = 0.3
    look_back_seconds: Annotated[float, Field(ge=0, le=24 * 3600)] = 900.0
    life_seconds: Annotated[float, Field(ge=1, le=24 * 3600)] = 900.0


class EventsSettings(BaseModel):
    """Lifecycle events on saga.events."""

    model_config = ConfigDict(extra="forbid")

    enabled: bool = True


class RecoverySettings(BaseModel):
    """How often, and when, dead letters are sent again by themselves."""

    model_config = ConfigDict(extra="forbid")

    tries: Annotated[int, Field(ge=0, le=100)] = 5
    base_seconds: Annotated[float, Field(ge=0.01, le=3600)] = 10.0
    factor: Annotated[float, Field(ge=1, le=10)] = 2.0
    cap_seconds: Annotated[float, Field(ge=0.01, le=24 * 3600)] = 600.0


class FlowSettings(BaseModel):
    """How much participants are asked for at a time, and when one that is silent is asked for nothing new."""

    model_config = ConfigDict(extra="forbid")

    in_flight_max: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    participants: dict[str, Annotated[int, Field(ge=0, le=10_000_000)]] = {}
    breaker_timeouts: Annotated[int, Field(ge=0, le=1_000_000)] = 20
    breaker_pause_seconds: Annotated[float, Field(ge=0.1, le=3600)] = 10.0
    ramp_per_second: Annotated[float, Field(ge=1, le=100_000)] = 50.0


class TracingSettings(BaseModel):
    """Where spans go; nowhere by default."""

    model_config = ConfigDict(extra="forbid")

    endpoint: Annotated[str | None, Field(pattern=r"^https?://[^\s@]+$")] = None
    sample_ratio: Annotated[float, Field(ge=0, le=1)] = 1.0
    service_name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,100}$")] = "saga-coordinator"


class LogSettings(BaseModel):
    """What the process writes to standard error."""

    model_config = ConfigDict(extra="forbid")

    level: Literal["debug", "info", "warning", "error"] = "info"
    transitions: bool = True


class Settings(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(env_prefix="SAGA_", env_nested_delimiter="__", frozen=True, extra="forbid")

    topic_prefix: Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,100}$")] = "saga."
    definitions: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*(:[A-Za-z_]\w*)?$")] = "sagas:definitions"
    choreographies: Annotated[str | None, Field(pattern=r"^[A-Za-z_][\w.]*(:[A-Za-z_]\w*)?$")] = None
    participants: Annotated[str, Field(pattern=r"^([a-z][a-z0-9-]{0,62}(,[a-z][a-z0-9-]{0,62})*)?$")] = ""
    instance: Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,100}$")] = Field(
        default_factory=lambda: socket.gethostname()[:100] or "coordinator"
    )
    kafka: KafkaSettings = KafkaSettings()
    database: DatabaseSettings = DatabaseSettings()
    api: ApiSettings = ApiSettings()
    oidc: OidcSettings = OidcSettings()
    metrics: MetricsSettings = MetricsSettings()
    streams: StreamSettings = StreamSettings()
    events: EventsSettings = EventsSettings()
    recovery: RecoverySettings = RecoverySettings()
    flow: FlowSettings = FlowSettings()
    log: LogSettings = LogSettings()
    tracing: TracingSettings = TracingSettings()


def read_settings() -> Settings:
    """Read the environment; raises ConfigurationError that names every wrong setting."""
    wrong = [f"{name}: {reason}" for name, reason in _unknown(os.environ)]
    try:
        settings = Settings()
    except ValidationError as error:
        wrong += [
            f"{_variable(problem['loc'])}: {problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors(include_input=False, include_url=False)
        ]
    except SettingsError as error:
        wrong.append(_not_a_group(str(error)))
    if wrong:
        raise ConfigurationError(f"wrong settings: {'; '.join(wrong)}")
    return settings


def is_loopback(host: str) -> bool:
    """Whether only this machine is reached under a host's name or address."""
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def is_safe_url(text: str) -> bool:
    """Whether what comes from a URL is from where it says: https, or http on this machine; no password in it."""
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
        parts.port  # noqa: B018 - raises where it is no number
    except ValueError:
        return False
    secure = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))
    return bool(host) and secure and "@" not in parts.netloc and not parts.fragment and text.isprintable()


def _token(file: str) -> bytes:
    """Read a token from a file; raises ValueError with what is wrong with it."""
    try:
        token = Path(file).read_bytes().strip()
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}") from error
    if len(token) < TOKEN_BYTES_MIN:
        raise ValueError(f"the token in {file} is shorter than {TOKEN_BYTES_MIN} characters")
    return token


def _variable(location: tuple[int | str, ...]) -> str:
    """The variable that a place in the settings is read from."""
    return PREFIX + "__".join(str(part) for part in location).upper()


def _not_a_group(said: str) -> str:
    """Say which variable is set as if it were one setting, where it stands for several, or should be JSON."""
    found = re.search(r'field "(\w+)"', said)
    group = _variable((found[1] if found else said,))
    if group not in map(str.upper, os.environ):
        inside = [name for name in sorted(os.environ) if name.upper().startswith(f"{group}__")]
        return f"{', '.join(inside)}: must be JSON where it stands for a mapping"
    return f"{group}: stands for several settings, set them one by one: {', '.join(_names(group))}"


def _names(beginning: str = PREFIX) -> list[str]:
    """The names of all settings that begin so."""
    found = []
    for name, field in Settings.model_fields.items():
        group = field.annotation
        inner = group.model_fields if isinstance(group, type) and issubclass(group, BaseModel) else None
        found += [_variable((name,))] if inner is None else [_variable((name, each)) for each in inner]
    return [name for name in found if name.startswith(beginning)]


def _unknown(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Find what nobody reads, which is nearly always a slip of the pen; names inside a group pydantic finds."""
    known = _names()
    groups = {name.partition("__")[0] for name in known if "__" in name}
    services = tuple(_of_services(environment))
    for name in sorted(environment):
        upper = name.upper()
        if not upper.startswith(PREFIX) or upper in _CLIENTS or upper.startswith((*_OTHERS, *services)):
            continue
        if upper not in known and upper.partition("__")[0] not in groups:
            close = difflib.get_close_matches(upper, known, n=1)
            yield name, "there is no such setting" + (f"; is {close[0]} meant?" if close else "")


def _of_services(environment: Mapping[str, str]) -> Iterator[str]:
    """The beginnings of what Kubernetes sets in every container once a service is called saga-something."""
    for name in environment:
        service = name.removesuffix("_SERVICE_HOST")
        if service != name and f"{service}_SERVICE_PORT" in environment:
            yield f"{service}_SERVICE_"
            yield f"{service}_PORT"


def _is_address(text: str) -> bool:
    """Whether the Kafka client can make a host and a port of this."""
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(text)
        return True
    found = _ADDRESS.fullmatch(text)
    return found is not None and (found[1] is None or 0 < int(found[1]) < 65536)
