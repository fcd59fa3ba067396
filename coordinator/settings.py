"""Settings, read once from the environment (prefix SAGA_, nested by a double underscore); see docs/settings.md."""

from __future__ import annotations

import socket
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from coordinator.errors import ConfigurationError


class KafkaSettings(BaseModel):
    """How to reach Kafka, and what the topics are like."""

    model_config = ConfigDict(extra="forbid")

    bootstrap_servers: str = "127.0.0.1:9092"
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    username: str | None = None
    password: SecretStr | None = None
    ca_file: str | None = None
    group_id: str = "saga-coordinator"
    instance_id: str | None = None
    replies_partitions: Annotated[int, Field(ge=1, le=1024)] = 16
    commands_partitions: Annotated[int, Field(ge=1, le=1024)] = 8
    events_partitions: Annotated[int, Field(ge=1, le=1024)] = 8
    dead_letter_partitions: Annotated[int, Field(ge=1, le=1024)] = 1
    replication: Annotated[int, Field(ge=1, le=9)] = 1
    retention_hours: Annotated[int, Field(ge=1, le=24 * 365)] = 7 * 24


class DatabaseSettings(BaseModel):
    """How to reach Postgres."""

    model_config = ConfigDict(extra="forbid")

    url: SecretStr = SecretStr("postgresql://127.0.0.1:5432/saga")
    pool_max: Annotated[int, Field(ge=1, le=200)] = 8


class ApiSettings(BaseModel):
    """Where the API listens, and its limits."""

    model_config = ConfigDict(extra="forbid")

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    insecure: bool = False
    body_bytes_max: Annotated[int, Field(ge=1024, le=16 * 1024 * 1024)] = 256 * 1024
    bulk_bytes_max: Annotated[int, Field(ge=1024, le=64 * 1024 * 1024)] = 4 * 1024 * 1024
    bulk_max: Annotated[int, Field(ge=1, le=10_000)] = 1_000
    body_timeout_seconds: Annotated[float, Field(gt=0, le=300)] = 10.0


class EventsSettings(BaseModel):
    """Lifecycle events on saga.events."""

    model_config = ConfigDict(extra="forbid")

    enabled: bool = True


class LogSettings(BaseModel):
    """What the process writes to standard error."""

    model_config = ConfigDict(extra="forbid")

    level: Literal["debug", "info", "warning", "error"] = "info"
    transitions: bool = True


class Settings(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(env_prefix="SAGA_", env_nested_delimiter="__", frozen=True, extra="forbid")

    topic_prefix: Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,100}$")] = "saga."
    definitions: str = "sagas:definitions"
    instance: Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,100}$")] = Field(
        default_factory=lambda: socket.gethostname()[:100] or "coordinator"
    )
    kafka: KafkaSettings = KafkaSettings()
    database: DatabaseSettings = DatabaseSettings()
    api: ApiSettings = ApiSettings()
    events: EventsSettings = EventsSettings()
    log: LogSettings = LogSettings()


def read_settings() -> Settings:
    """Read the environment; raises ConfigurationError that names every wrong setting."""
    try:
        return Settings()
    except ValidationError as error:
        wrong = "; ".join(
            f"{'__'.join(str(part) for part in ('SAGA', *problem['loc'])).upper().replace('SAGA__', 'SAGA_', 1)}:"
            f" {problem['msg']}"
            for problem in error.errors(include_input=False, include_url=False)
        )
        raise ConfigurationError(f"wrong settings: {wrong}") from None
