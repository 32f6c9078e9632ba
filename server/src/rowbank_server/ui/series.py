"""Which metrics the page shows over time, and what of them: a value, a rate, a quantile.

They are read from the process's own registry, so the page and a Prometheus see the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from prometheus_client.core import Metric

# A value as it is; a counter's rate; a histogram's quantiles; a histogram's rate of observations.
Kind = Literal["value", "rate", "quantiles", "count"]
QUANTILES = {"p50": 0.5, "p99": 0.99}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Series of one metric.

    Attributes:
        metric: the family's name, without `_total`.
        by: labels that are kept; over the others is summed, or for `worst` the highest is taken.
    """

    metric: str
    kind: Kind
    by: tuple[str, ...] = ()
    worst: bool = False


@dataclass(frozen=True, slots=True)
class Key:
    """One series: a metric, what of it, and the labels that are kept."""

    metric: str
    what: str
    labels: tuple[tuple[str, str], ...]


Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """All wanted metrics at one moment.

    Attributes:
        at_s: Unix seconds.
        numbers: values of gauges and counts of counters.
        counts: of histograms, the cumulative counts by upper bound.
    """

    at_s: float
    numbers: Mapping[tuple[Wanted, Labels], float]
    counts: Mapping[tuple[Wanted, Labels], Mapping[float, float]]


def picture(families: Iterable[Metric], wanted: Sequence[Wanted], at_s: float) -> Picture:
    """What is wanted of a registry's metrics."""
    by_metric: dict[str, list[Wanted]] = {}
    for one in wanted:
        by_metric.setdefault(one.metric, []).append(one)
    numbers: dict[tuple[Wanted, Labels], float] = {}
    counts: dict[tuple[Wanted, Labels], dict[float, float]] = {}
    for family in families:
        for one in by_metric.get(family.name.removesuffix("_total"), ()):
            _take(family, one, numbers, counts)
    return Picture(at_s, numbers, counts)


def _take(
    family: Metric,
    one: Wanted,
    numbers: dict[tuple[Wanted, Labels], float],
    counts: dict[tuple[Wanted, Labels], dict[float, float]],
) -> None:
    ending = {"quantiles": "_bucket", "rate": "_total", "count": "_count", "value": ""}[one.kind]
    for sample in family.samples:
        if sample.name != f"{one.metric}{ending}":
            continue
        labels = tuple((name, sample.labels.get(name, "")) for name in one.by)
        if one.kind == "quantiles":
            bucket = counts.setdefault((one, labels), {})
            bound = float(sample.labels["le"])
            bucket[bound] = bucket.get(bound, 0.0) + sample.value
        elif one.worst:
            numbers[one, labels] = max(numbers.get((one, labels), -math.inf), sample.value)
        else:
            numbers[one, labels] = numbers.get((one, labels), 0.0) + sample.value


def keys(now: Picture) -> list[Key]:
    """The series that a picture has something of."""
    numbers = [Key(one.metric, "value" if one.kind == "value" else "rate", labels) for one, labels in now.numbers]
    return numbers + [Key(one.metric, name, labels) for one, labels in now.counts for name in QUANTILES]


def between(before: Picture | None, now: Picture) -> dict[Key, float]:
    """The numbers of the series: values as they are now, rates and quantiles of what came since `before`."""
    found: dict[Key, float] = {}
    elapsed = now.at_s - before.at_s if before is not None else 0.0
    for (one, labels), value in now.numbers.items():
        if one.kind == "value":
            found[Key(one.metric, "value", labels)] = value
        elif before is not None and elapsed > 0:
            # What was not there before began at 0; what is less than before was started again.
            last = before.numbers.get((one, labels), 0.0)
            found[Key(one.metric, "rate", labels)] = (value - last if value >= last else value) / elapsed
    if before is not None:
        for (one, labels), bounds in now.counts.items():
            earlier = before.counts.get((one, labels), {})
            fresh = [(bound, count - earlier.get(bound, 0.0)) for bound, count in sorted(bounds.items())]
            for name, share in QUANTILES.items():
                found[Key(one.metric, name, labels)] = quantile(fresh, share)
    return found


def quantile(cumulative: Sequence[tuple[float, float]], share: float) -> float:
    """A quantile of a histogram, as Prometheus' histogram_quantile has it; NaN: it is empty.

    Args:
        cumulative: counts of what is at most a bound, by bounds that rise; the last bound is infinite.
    """
    total = cumulative[-1][1] if cumulative else 0.0
    if total <= 0:
        return math.nan
    rank, low_bound, low_count = share * total, 0.0, 0.0
    for bound, count in cumulative:
        if count >= rank and count > low_count:
            if math.isinf(bound):
                return low_bound
            return low_bound + (bound - low_bound) * (rank - low_count) / (count - low_count)
        low_bound, low_count = bound, count
    return low_bound
