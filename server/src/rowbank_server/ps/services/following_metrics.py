"""Prometheus metrics of a process that follows its shard's owner."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from rowbank_server.ps.following.following import Following


class FollowingCollector(Collector):
    """What `following` knows, as metrics."""

    def __init__(self, following: Following) -> None:
        self._following = following

    def collect(self) -> Iterable[Metric]:
        following, copies = self._following, self._following.copies
        for name, text, value in (
            ("rowbank_replica_connected", "1 if the owner is followed now.", following.connected),
            ("rowbank_replica_age_seconds", "How far the rows are behind the owner's, at most.", following.age_s),
            ("rowbank_replica_position", "Position of the last mutation that was taken in.", following.position),
            ("rowbank_replica_tables", "Tables that the owner has.", len(copies)),
            ("rowbank_replica_whole_tables", "Tables of the owner that are here.", copies.whole_count),
        ):
            yield GaugeMetricFamily(name, text, value=float(value))
        for name, text, value in (
            ("rowbank_replica_records", "Mutations of the owner that were applied.", following.records),
            ("rowbank_replica_pictures", "Tables that were taken whole from the owner.", copies.pictures),
            ("rowbank_replica_picture_rows", "Rows in them.", copies.picture_rows),
            ("rowbank_replica_cuts", "Streams of an owner that ended.", following.cuts),
            (
                "rowbank_replica_unusable",
                "Records and tables of the owner that could not be applied, and came anew.",
                following.unusable,
            ),
        ):
            yield CounterMetricFamily(name, text, value=float(value))
