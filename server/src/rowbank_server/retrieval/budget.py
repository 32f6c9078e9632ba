"""The time that a query may take, and what guards its parts."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from rowbank.errors import RedisUnavailable, ShardUnavailable
from rowbank_server.guard import Guard

# Of what is left when a part begins. What remains for tower and search, which wait for nobody, is a tenth.
FEATURES_SHARE = 0.5
ROWS_SHARE = 0.8
# Of the budget: who gives a part less time than this, as a caller in a hurry does, learns nothing of its health.
_PATIENCE = 0.2


@dataclass(frozen=True, slots=True)
class Budget:
    """Until when a batch of queries must be answered, on the clock of `time.monotonic`."""

    deadline_s: float

    def share_s(self, part: float) -> float:
        """Seconds that a part of the way may take: `part` of what is left."""
        return max(0.0, self.deadline_s - time.monotonic()) * part


class QueryParts:
    """What queries may wait for, each part behind a guard of its own.

    Args:
        budget_s: what one query may take, from its arrival.
    """

    def __init__(self, budget_s: float) -> None:
        self._budget_s = budget_s
        patience_s = budget_s * _PATIENCE
        self.features = Guard("Redis", RedisUnavailable, threads=1, probe_aside=True, patience_s=patience_s)
        self.rows = Guard("the parameter server", ShardUnavailable, threads=1, probe_aside=True, patience_s=patience_s)

    def budget(self, arrived_s: float, deadlines_s: Iterable[float | None] = ()) -> Budget:
        """The budget of queries the first of which arrived then.

        Args:
            deadlines_s: when their callers stop waiting, by `time.monotonic`. The most patient of them counts, as the
                others have their answers without it at the worst.
        """
        end = arrived_s + self._budget_s
        latest = max((end if one is None else one for one in deadlines_s), default=end)
        return Budget(min(end, latest))
