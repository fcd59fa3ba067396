"""What SAGA_DEFINITIONS names in these tests."""

from __future__ import annotations

from coordinator.saga.definition import SagaDefinition
from tests.unit.describe.holiday import holiday, parcels

definitions: tuple[SagaDefinition, ...] = (holiday, *parcels)
