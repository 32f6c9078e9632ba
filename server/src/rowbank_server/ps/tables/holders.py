"""Who holds a table, so that nobody drops or clears it under them: stored model versions and running jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rowbank.errors import TableHeld
from rowbank_server.storage.holds import JobHolds

_MOST_NAMED = 5


class Holders:
    """Thread-safe.

    Args:
        versions: who holds a table as a stored model version, in words.
    """

    def __init__(self, jobs: JobHolds, versions: Callable[[str], Sequence[str]]) -> None:
        self.jobs = jobs
        self._versions = versions

    def of(self, table: str) -> list[str]:
        """In words that a person understands. Raises RedisUnavailable."""
        jobs = [f"{hold.holder} (running)" for hold in self.jobs.current() if table in hold.tables]
        return [*self._versions(table), *jobs]

    def require_free(self, table: str, act: str) -> None:
        """Raises TableHeld if somebody holds `table`; `act` says what is refused: "dropped"."""
        holders = self.of(table)
        if holders:
            raise TableHeld(
                f"table {table!r} is held by {_listed(holders)}, so it is not {act}; prune the versions or end the "
                "runs first, or use force",
                metadata={"table": table, "holders": ", ".join(holders)},
            )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
