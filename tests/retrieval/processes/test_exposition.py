"""Metrics of several workers as one text."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from rowbank_server.retrieval.processes.exposition import merged


def exposition(requests: int, *, model: str | None = None) -> bytes:
    registry = CollectorRegistry()
    Counter("requests_total", "Requests.", registry=registry).inc(requests)
    seconds = Histogram("seconds", "Time.", ["route"], buckets=(1, 2), registry=registry)
    seconds.labels("/a b{").observe(1.5)
    if model is not None:
        Gauge("model_info", "Which.", ["version"], registry=registry).labels(model).set(1)
    return generate_latest(registry)


def samples(text: bytes) -> dict[tuple[str, str], float]:
    """By name and labels, through Prometheus's own parser."""
    found = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            if not sample.name.endswith("_created"):
                labels = [f"{k}={v}" for k, v in sorted(sample.labels.items())]
                found[sample.name, " ".join(labels)] = sample.value
    return found


def test_every_sample_says_whose_it_is():
    assert samples(merged({0: exposition(3), 1: exposition(4, model="v1"), 2: None})) == {
        ("rowbank_api_worker_up", "worker=0"): 1,
        ("rowbank_api_worker_up", "worker=1"): 1,
        ("rowbank_api_worker_up", "worker=2"): 0,
        ("requests_total", "worker=0"): 3,
        ("requests_total", "worker=1"): 4,
        ("seconds_bucket", "le=1.0 route=/a b{ worker=0"): 0,
        ("seconds_bucket", "le=2.0 route=/a b{ worker=0"): 1,
        ("seconds_bucket", "le=+Inf route=/a b{ worker=0"): 1,
        ("seconds_count", "route=/a b{ worker=0"): 1,
        ("seconds_sum", "route=/a b{ worker=0"): 1.5,
        ("seconds_bucket", "le=1.0 route=/a b{ worker=1"): 0,
        ("seconds_bucket", "le=2.0 route=/a b{ worker=1"): 1,
        ("seconds_bucket", "le=+Inf route=/a b{ worker=1"): 1,
        ("seconds_count", "route=/a b{ worker=1"): 1,
        ("seconds_sum", "route=/a b{ worker=1"): 1.5,
        ("model_info", "version=v1 worker=1"): 1,
    }


def test_each_metric_is_described_once_and_its_samples_stand_together():
    lines = merged({0: exposition(1), 1: exposition(2)}).decode().splitlines()
    assert lines.count("# TYPE seconds histogram") == 1
    places = [place for place, line in enumerate(lines) if line.startswith("seconds_") and "_created" not in line]
    assert places == list(range(places[0], places[0] + len(places)))


def test_labels_of_no_name_get_none_besides():
    assert b'x{worker="7"} 1' in merged({7: b"# TYPE x gauge\nx{} 1\n"})


def test_labels_may_have_other_ends_of_lines():
    text = 'x{name="a\u2028b\x0cc\x85d"} 1\n'.encode()
    assert b'x{worker="7",' + text[2:] in merged({7: b"# TYPE x gauge\n" + text})
