"""What is remembered of a registry: values, rates, quantiles and rings, worked out by hand."""

from __future__ import annotations

import math

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from rowbank_server.ui import history
from rowbank_server.ui.history import SPANS, History
from rowbank_server.ui.series import Key, Wanted, between, picture, quantile


def key(metric: str, what: str, **labels: str) -> Key:
    return Key(metric, what, tuple(labels.items()))


def test_values_are_summed_over_other_labels_or_the_worst_is_taken():
    registry = CollectorRegistry()
    gauge = Gauge("g", "", ["table", "shard"], registry=registry)
    for shard, value in enumerate((3, 4)):
        gauge.labels("a", str(shard)).set(value)
    gauge.labels("b", "0").set(10)
    wanted = [Wanted("g", "value", ("table",)), Wanted("g", "value"), Wanted("g", "value", (), worst=True)]
    one = picture(registry.collect(), wanted[:2], 0.0)
    assert between(None, one) == {
        key("g", "value", table="a"): 7,
        key("g", "value", table="b"): 10,
        key("g", "value"): 17,
    }
    assert between(None, picture(registry.collect(), wanted[2:], 0.0)) == {key("g", "value"): 10}


def test_rates_are_of_what_came_since_also_after_a_restart():
    registry = CollectorRegistry()
    counter = Counter("c", "", ["code"], registry=registry)
    wanted = [Wanted("c", "rate", ("code",))]
    counter.labels("ok").inc(100)
    before = picture(registry.collect(), wanted, 10.0)
    counter.labels("ok").inc(30)
    counter.labels("bad").inc(5)
    now = picture(registry.collect(), wanted, 12.0)
    assert between(before, now) == {key("c", "rate", code="ok"): 15, key("c", "rate", code="bad"): 2.5}
    assert between(now, before).get(key("c", "rate", code="ok")) is None  # Time went backwards.
    registry = CollectorRegistry()
    Counter("c", "", ["code"], registry=registry).labels("ok").inc(8)
    assert between(now, picture(registry.collect(), wanted, 16.0)) == {key("c", "rate", code="ok"): 2}


def test_quantiles_are_of_what_came_since():
    """Of 100 observations at most 1 s before, and then of 3 in (1, 2] and 1 in (2, 4]: half of four is 2 of 3."""
    registry = CollectorRegistry()
    histogram = Histogram("h", "", ["method"], buckets=(1, 2, 4), registry=registry)
    wanted = [Wanted("h", "quantiles", ("method",)), Wanted("h", "count", ("method",))]
    for _ in range(100):
        histogram.labels("Pull").observe(0.5)
    before = picture(registry.collect(), wanted, 0.0)
    for value in (1.5, 1.6, 1.7, 3.0):
        histogram.labels("Pull").observe(value)
    found = between(before, picture(registry.collect(), wanted, 2.0))
    assert found[key("h", "p50", method="Pull")] == pytest.approx(1 + 2 / 3)
    assert found[key("h", "p99", method="Pull")] == pytest.approx(2 + 2 * 0.96)
    assert found[key("h", "rate", method="Pull")] == 2


@pytest.mark.parametrize(
    ("counts", "share", "expected"),
    [
        ([], 0.5, math.nan),
        ([(1.0, 0.0), (math.inf, 0.0)], 0.5, math.nan),
        ([(1.0, 0.0), (math.inf, 4.0)], 0.5, 1.0),
        ([(1.0, 4.0), (math.inf, 4.0)], 0.5, 0.5),
        ([(1.0, 1.0), (2.0, 1.0), (4.0, 3.0), (math.inf, 3.0)], 0.99, 2 + 2 * (2.97 - 1) / 2),
    ],
)
def test_quantiles_of_a_histogram(counts, share, expected):
    assert quantile(counts, share) == pytest.approx(expected, nan_ok=True)


def filled(values: dict[float, float]) -> History:
    """A gauge's values by the time of each sample."""
    made, registry = History(), CollectorRegistry()
    gauge = Gauge("g", "", registry=registry)
    for at_s, value in values.items():
        gauge.set(value)
        made.add(picture(registry.collect(), [Wanted("g", "value")], at_s))
    return made


def test_a_ring_has_its_newest_samples_at_its_pace():
    start = 1_800_000_000
    made = filled({start + second: float(second) for second in range(700)})
    ten = made.excerpt("10m")
    assert (ten.times[0], ten.times[-1], len(ten.times)) == (start + 100, start + 699, 600)
    assert ten.series[key("g", "value")].tolist() == [float(second) for second in range(100, 700)]
    two = made.excerpt("2h")
    assert two.times.tolist() == list(range(start, start + 700, 10))
    assert two.series[key("g", "value")][1] == 10
    assert len(made.excerpt("24h").times) == 12
    assert made.excerpt("10m", after_s=start + 697).times.tolist() == [start + 698, start + 699]


def test_a_gap_stays_a_gap():
    made = filled({1000.0: 1.0, 1003.0: 2.0, 1600.5: 3.0})
    assert made.excerpt("10m").times.tolist() == [1003, 1600]


def test_a_series_that_comes_later_was_nothing_before():
    made, registry, wanted = History(), CollectorRegistry(), [Wanted("g", "value", ("t",))]
    gauge = Gauge("g", "", ["t"], registry=registry)
    gauge.labels("a").set(1)
    made.add(picture(registry.collect(), wanted, 10.0))
    gauge.labels("b").set(2)
    made.add(picture(registry.collect(), wanted, 11.0))
    column = made.excerpt("10m").series[key("g", "value", t="b")]
    assert math.isnan(column[0])
    assert column[1] == 2


def test_memory_is_bounded_and_what_is_left_out_is_counted(monkeypatch):
    monkeypatch.setattr(history, "MAX_SERIES", 3)
    made, registry, wanted = History(), CollectorRegistry(), [Wanted("g", "value", ("t",))]
    gauge = Gauge("g", "", ["t"], registry=registry)
    for name in "abcde":
        gauge.labels(name).set(1)
    made.add(picture(registry.collect(), wanted, 10.0))
    assert (len(made.excerpt("10m").series), made.excerpt("10m").left_out) == (3, 2)
    for name in "abc":
        gauge.remove(name)
    made.add(picture(registry.collect(), wanted, 11.0 + SPANS["10m"][1]))
    assert {dict(one.labels)["t"] for one in made.excerpt("10m").series} >= {"d", "e"}
    assert made.excerpt("10m").left_out == 0


def test_rings_take_the_bytes_that_are_promised():
    made = filled({0.0: 1.0})
    held = sum(column.nbytes for ring in made._rings.values() for column in ring.values.values())
    assert held == 4 * sum(size for _, size in SPANS.values()) == 11_040
