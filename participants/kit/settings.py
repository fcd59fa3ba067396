"""What a participant reads from its environment, once, at start."""

from __future__ import annotations

from pydantic import BaseModel, Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class KafkaSettings(BaseModel, frozen=True):
    """Where Kafka is, and how patiently it is asked for records."""

    bootstrap_servers: str = "localhost:9092"
    fetch_max_wait_ms: int = Field(default=100, ge=1, le=500)
    session_timeout_ms: int = Field(default=10_000, ge=1_000)


class DatabaseSettings(BaseModel, frozen=True):
    """Where the participant's Postgres is."""

    url: str = "postgresql://localhost:5432/saga"


class ParticipantSettings(BaseModel, frozen=True):
    """Limits of one participant process, and its stable name within the consumer group."""

    instance: str | None = None
    batch_max: int = Field(default=500, ge=1, le=5_000)
    publications_max: int = Field(default=8, ge=1, le=64)


class Settings(BaseSettings):
    """Environment variables that begin with SAGA_; two underscores step into a group."""

    model_config = SettingsConfigDict(env_prefix="SAGA_", env_nested_delimiter="__", extra="ignore", frozen=True)

    kafka: KafkaSettings = KafkaSettings()
    database: DatabaseSettings = DatabaseSettings()
    participant: ParticipantSettings = ParticipantSettings()
    topic_prefix: str = Field(default="saga.", pattern=r"^[A-Za-z0-9._-]{0,100}$")
