"""From the records of a topic of events to arrivals: which saga they are about, or why they are set aside."""

from __future__ import annotations

import hashlib

import msgspec
import structlog

from coordinator.choreography.choreographies import Choreographies
from coordinator.engine.ports import Polled
from coordinator.engine.reading import BadArrival
from coordinator.kafka.records import Record, Skipped
from coordinator.saga.choreography import ChoreographyDefinition
from coordinator.saga.observing import KeptRecord, Place, Sighting
from coordinator.wire.cloudevents import open_envelope
from coordinator.wire.strict_json import Refused, encode

log = structlog.get_logger()

KEY_LENGTH_MAX = 200


class EventArrival(msgspec.Struct, frozen=True, gc=False):
    """An event of a choreography: of which saga, and what it said (`data` as JSON text)."""

    part: int
    offset: int
    definition: ChoreographyDefinition
    business_key: str
    sighting: Sighting
    source: str
    kept: KeptRecord
    data: bytes
    traceparent: str | None
    record: Record

    @property
    def next_offset(self) -> int:
        """The offset behind this arrival."""
        return self.offset + 1

    @property
    def key(self) -> tuple[str, str]:
        """What names the saga: the definition's name and the business key."""
        return self.definition.name, self.business_key

    @property
    def input_hash(self) -> bytes:
        """What the saga's key remembers of the event that began it; nobody starts it a second time to compare."""
        return hashlib.sha256(self.data).digest()


Arrival = EventArrival | BadArrival


def read(polled: list[Polled], source: str, topic: str, choreographies: Choreographies) -> tuple[list[Arrival], int]:
    """Decode what was polled from the topic of a source; also answers how many records were no concern of ours."""
    arrivals: list[Arrival] = []
    foreign = 0
    for item in polled:
        if isinstance(item, Skipped):
            arrivals.append(
                BadArrival(item.partition, item.first_offset, item.next_offset, item.reason, item.detail, None)
            )
            continue
        for record in item[1]:
            found = _read_record(record, source, topic, choreographies)
            foreign += not found
            arrivals += found
    return arrivals, foreign


def _read_record(record: Record, source: str, topic: str, choreographies: Choreographies) -> list[Arrival]:
    try:
        return _read_event(record, source, topic, choreographies)
    except Refused as refused:
        return [_refused(record, refused)]
    except Exception as error:  # one record must not stop the others
        log.exception("record_not_read", topic=topic, partition=record.partition, offset=record.offset)
        return [unreadable(record, "internal", repr(error))]


def _refused(record: Record, refused: Refused) -> BadArrival:
    detail = f"{refused.path}: {refused.detail}" if refused.path else refused.detail
    return unreadable(record, refused.reason, detail)


def unreadable(record: Record, reason: str, detail: str) -> BadArrival:
    """Set a record aside."""
    return BadArrival(record.partition, record.offset, record.offset + 1, reason, detail, record)


def _read_event(record: Record, source: str, topic: str, choreographies: Choreographies) -> list[Arrival]:
    """Read an event for each choreography that expects it; one that it does not name a saga of takes it from none."""
    envelope = open_envelope(record.headers, record.value)  # type: ignore[arg-type]
    expecting = choreographies.expecting(source, envelope.ce_type)
    if expecting and envelope.source != source:
        raise Refused("not_owner", f"only {source} says this on {topic}", path="ce_source")
    place = Place(topic, record.partition, record.offset)
    kept = KeptRecord(place, record.key, record.value, tuple(record.headers))
    sighting, data = Sighting(envelope.ce_type, envelope.ce_id, place), encode(envelope.data)
    arrivals: list[Arrival] = []
    bad: BadArrival | None = None  # a record is set aside once, whoever cannot read it
    for definition in expecting:
        try:
            key = _business_key(envelope.data.get(definition.correlation), definition.correlation)
        except Refused as refused:
            bad = bad or _refused(record, refused)
            continue
        arrivals.append(
            EventArrival(
                *(record.partition, record.offset, definition, key, sighting, source, kept, data),
                envelope.traceparent,
                record,
            )
        )
    return arrivals if bad is None else [*arrivals, bad]


def _business_key(value: object, field: str) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= KEY_LENGTH_MAX or not value.isprintable():
        raise Refused("schema", f"a business key is 1 to {KEY_LENGTH_MAX} printable characters", path=field)
    return value
