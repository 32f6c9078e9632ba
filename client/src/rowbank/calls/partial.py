"""Calls to all shards that do without those that are away, for whoever rather sees a part than nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from rowbank.calls.methods import A, Method, Q
from rowbank.calls.servers import Shard
from rowbank.calls.transport import Metadata, Transport
from rowbank.errors import DeadlineExceeded, NotReady, RequestError, ShardUnavailable

AWAY = (DeadlineExceeded, NotReady, ShardUnavailable)
_ASK_AGAIN_S = 0.3  # The longest wait for a shard that was away a moment ago.


class PartialTransport(Transport):
    """As `Transport`, but `each` leaves out shards that are away, and nothing is tried twice. For one thread.

    Args:
        missing: the shards that are away now, and how that was noticed.
    """

    def __init__(
        self,
        shards: Sequence[Shard],
        *,
        timeout_s: float,
        numbered: bool = True,
        missing: Mapping[int, RequestError] | None = None,
    ) -> None:
        super().__init__(shards, timeout_s=timeout_s, numbered=numbered)
        self.missing: dict[int, RequestError] = dict(missing or {})

    @property
    def present(self) -> list[int]:
        return [shard for shard in range(len(self.shards)) if shard not in self.missing]

    def each(self, method: Method[Q, A], request: Q, *, retry: bool = True) -> list[A]:
        """The answers of the shards that are `present` afterwards, in their order.

        Raises:
            RequestError: no shard answers, or one answers with another error than that it is away.
        """
        answers: dict[int, A] = {}
        failures: dict[int, RequestError] = {}
        for shards, timeout_s in ((self.present, self.timeout_s), (list(self.missing), _ASK_AGAIN_S)):
            calls = [(shard, request) for shard in shards]
            found: dict[int, A] = {}
            failed = self._attempt(method, calls, range(len(calls)), found, time.monotonic() + timeout_s)
            answers |= {shards[index]: answer for index, answer in found.items()}
            failures |= {shards[index]: error for index, error in failed.items()}
        for error in failures.values():
            if not isinstance(error, AWAY):
                raise error
        if not answers:
            raise next(iter(failures.values()))
        self.missing = failures
        return [answers[shard] for shard in sorted(answers)]

    def run(
        self,
        method: Method[Q, A],
        calls: Sequence[tuple[int, Q]],
        *,
        retry: bool = True,
        timeout_s: float | None = None,
        metadata: Callable[[int], Metadata] | None = None,
    ) -> list[A]:
        """As `Transport.run`, but once, and at once an error where a shard is away."""
        for shard, _ in calls:
            if shard in self.missing:
                raise self.missing[shard]
        return super().run(method, calls, retry=False, timeout_s=timeout_s, metadata=metadata)

    def _may_repeat(self, shard: Shard, error: RequestError, *, retry: bool) -> bool:
        return False
