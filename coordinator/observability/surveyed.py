"""The gauges that tell of rows: read from the database now and then, and shown by one process of an installation."""

from __future__ import annotations

from coordinator.observability.collectors import Known

_TYPE = ("saga_type",)

STUCK = Known("saga_stuck_count", "Sagas in progress that have been overdue for a minute.", _TYPE)
STUCK_AGE = Known("saga_stuck_seconds", "For how long the most overdue saga has been so.", _TYPE)
IN_FLIGHT = Known("saga_in_flight_count", "Sagas that have not ended and are not suspended.", ("saga_type", "status"))
SUSPENDED = Known("saga_suspended_count", "Sagas that are parked for a person.", _TYPE)
COMPENSATING_AGE = Known(
    "saga_compensating_seconds", "For how long the saga that turned back first has been undoing.", _TYPE
)
INCIDENTS = Known("saga_incidents_open", "Open incidents by why a person is needed.", ("reason",))
INCIDENT_AGE = Known("saga_incident_open_seconds", "For how long the oldest open incident has been open.", ("reason",))
LETTERS = Known(
    "saga_dead_letters_open",
    "Dead letters that nothing was done about; next is who acts on them: recovery, a person, or their saga.",
    ("kind", "reason", "next"),
)
LETTERS_RECENT = Known(
    "saga_dead_letters_recent", "Open dead letters of the last fifteen minutes; counted up to a thousand."
)
LETTER_AGE = Known("saga_dead_letter_open_seconds", "For how long the oldest open dead letter has been open.")
OUTBOX = Known("saga_outbox_rows", "Messages that are committed and not known to be on Kafka.")
OUTBOX_AGE = Known("saga_outbox_oldest_seconds", "The age of the oldest of them: how far publishing is behind.")
REFRESHED = Known("saga_gauges_refreshed_timestamp_seconds", "When the gauges of rows were read, by the database.")
REFRESH_SECONDS = Known("saga_gauges_refresh_seconds", "How long reading them took.")

SURVEYED = (
    STUCK,
    STUCK_AGE,
    IN_FLIGHT,
    SUSPENDED,
    COMPENSATING_AGE,
    INCIDENTS,
    INCIDENT_AGE,
    LETTERS,
    LETTERS_RECENT,
    LETTER_AGE,
    OUTBOX,
    OUTBOX_AGE,
    REFRESHED,
    REFRESH_SECONDS,
)
