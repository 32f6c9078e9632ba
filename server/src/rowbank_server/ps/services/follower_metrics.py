"""Prometheus metrics of who follows a shard, read when scraped."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from rowbank_server.ps.deltas.followers import Followers
from rowbank_server.ps.deltas.log import DeltaLog

_BY_NAME = (
    ("rowbank_follower_position", "Position up to which a follower was sent everything.", "position", min),
    ("rowbank_follower_lag_records", "Mutations that a follower was not sent yet.", "lag_records", max),
    ("rowbank_follower_lag_seconds", "Age of the oldest mutation that a follower was not sent.", "lag_s", max),
)


class FollowerCollector(Collector):
    """Followers as metrics; of those with one name, the one that is furthest behind."""

    def __init__(self, followers: Followers, log: DeltaLog) -> None:
        self._followers = followers
        self._log = log

    def collect(self) -> Iterable[Metric]:
        current = self._followers.current()
        yield GaugeMetricFamily("rowbank_followers", "Who follows this shard now.", value=float(len(current)))
        yield GaugeMetricFamily(
            "rowbank_follow_ring_bytes", "RAM held for followers.", value=float(self._log.held_bytes)
        )
        by_name: dict[str, list[float]]
        for metric, text, field, worst in _BY_NAME:
            by_name = {}
            for follower in current:
                by_name.setdefault(follower.name, []).append(float(getattr(follower, field)))
            gauge = GaugeMetricFamily(metric, text, labels=["follower"])
            for name, numbers in by_name.items():
                gauge.add_metric([name], worst(numbers))
            yield gauge
