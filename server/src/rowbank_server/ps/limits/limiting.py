"""All limits of a shard, made from its settings."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from rowbank_server.ps.limits.in_flight import InFlight, Most
from rowbank_server.ps.limits.metrics import InFlightCollector, LimitMetrics
from rowbank_server.ps.limits.row_limits import RowLimits
from rowbank_server.ps.limits.turns import Turns
from rowbank_server.settings import PsSettings


class Limiting:
    """The parts, wired."""

    def __init__(self, settings: PsSettings, registry: CollectorRegistry) -> None:
        self.metrics = LimitMetrics(registry)
        slots, weights = settings.worker_threads, settings.table_weights
        reads = Turns(slots, weights, self.metrics.waits("reads"), fair=not settings.first_come)
        mutations = Turns(slots, weights, self.metrics.waits("mutations"), fair=not settings.first_come)
        calls = Most(settings.max_calls, settings.max_calls_per_caller, settings.max_calls_per_table)
        size = Most(settings.max_bytes, settings.max_bytes_per_caller, settings.max_bytes_per_table)
        self.in_flight = InFlight(
            calls,
            size,
            on_refused=self.metrics.refused,
            retry_after_s=lambda: max(reads.expected_wait_s(), mutations.expected_wait_s()),
        )
        self.rows = RowLimits(self.in_flight, reads, mutations)
        registry.register(InFlightCollector(lambda: self.in_flight.usage))
