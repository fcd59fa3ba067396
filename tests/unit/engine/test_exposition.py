"""What a scrape answers: the same as prometheus_client would write, and quickly."""

from __future__ import annotations

from prometheus_client import Counter, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from coordinator.observability.collectors import BatchHistogram, Registry
from coordinator.observability.metrics import Metrics


def _samples(text: bytes) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families = text_string_to_metric_families(text.decode())
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def test_it_says_what_the_usual_writer_says() -> None:
    """Every sample of a histogram and of what stands beside it is the same, and a label may hold anything."""
    registry = Registry()
    histogram = BatchHistogram("saga_x_seconds", "X.", ("one", "two"), (0.01, 1, 10), registry)
    Counter("saga_y_total", "Y.", registry=registry).inc(3)
    histogram.observe(("a", 'b"\\ \n'), [5, 10, 11, 999.5, 20_000, -3])
    histogram.observe(("a", "c"), [])
    assert _samples(registry.exposition()) == _samples(generate_latest(registry))
    labels = {"one": "a", "two": 'b"\\ \n'}
    found = [registry.get_sample_value("saga_x_seconds_bucket", {**labels, "le": le}) for le in ("0.01", "1.0", "+Inf")]
    assert found == [3, 5, 6]
    assert registry.get_sample_value("saga_x_seconds_sum", labels) == 21.0255


def test_an_empty_one_can_be_scraped() -> None:
    """A process that has done nothing answers, and every line can be read."""
    metrics = Metrics()
    assert _samples(metrics.registry.exposition()) == _samples(generate_latest(metrics.registry))
