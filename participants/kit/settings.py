"""What a participant reads from its environment, once, at start."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, Field, FilePath, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class KafkaSettings(BaseModel, frozen=True):
    """How to reach Kafka; the coordinator reads the same variables, and some besides that are none of our business."""

    bootstrap_servers: str = "localhost:9092"
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    username: str | None = None
    password: SecretStr | None = None
    ca_file: FilePath | None = None

    @model_validator(mode="after")
    def _can_log_in(self) -> Self:
        if self.security_protocol.startswith("SASL") and (self.username is None or self.password is None):
            raise ValueError(f"{self.security_protocol} needs USERNAME and PASSWORD")
        return self


class DatabaseSettings(BaseModel, frozen=True):
    """Where the participant's Postgres is."""

    url: str = "postgresql://localhost:5432/saga"


class ParticipantSettings(BaseModel, frozen=True):
    """Limits of one participant process, its patience, and its stable name within the consumer group."""

    instance: str | None = None
    batch_max: int = Field(default=500, ge=1, le=5_000)
    publications_max: int = Field(default=8, ge=1, le=64)
    fetch_max_wait_ms: int = Field(default=100, ge=1, le=500)
    session_timeout_ms: int = Field(default=10_000, ge=1_000)
    tracing_endpoint: str | None = Field(default=None, pattern=r"^https?://[^\s@]+$")


class Settings(BaseSettings):
    """Environment variables that begin with SAGA_; two underscores step into a group."""

    model_config = SettingsConfigDict(env_prefix="SAGA_", env_nested_delimiter="__", extra="ignore", frozen=True)

    kafka: KafkaSettings = KafkaSettings()
    database: DatabaseSettings = DatabaseSettings()
    participant: ParticipantSettings = ParticipantSettings()
    topic_prefix: str = Field(default="saga.", pattern=r"^[A-Za-z0-9._-]{0,100}$")


class SettingsWrong(Exception):
    """Variables of the environment cannot be used; the message names each one that is wrong."""

    def __str__(self) -> str:
        return f"wrong settings: {super().__str__()}"


def read_settings() -> Settings:
    """Read the environment; raises `SettingsWrong`, which shows no value, since it may be a password."""
    try:
        return Settings()
    except ValidationError as error:
        wrong = (
            f"SAGA_{'__'.join(str(part) for part in problem['loc']).upper()}: {problem['msg']}"
            for problem in error.errors(include_input=False, include_url=False)
        )
        raise SettingsWrong("; ".join(wrong)) from None
