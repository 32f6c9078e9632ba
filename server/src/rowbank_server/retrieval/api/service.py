"""What the operations work on: the running service."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from rowbank.errors import DeadlineExceeded
from rowbank_server.guard import Guard
from rowbank_server.registry import ModelRegistry
from rowbank_server.registry.activation import Activation
from rowbank_server.registry.filters import FilterStore
from rowbank_server.retrieval.events.kinds import EventRules
from rowbank_server.retrieval.events.popularity import PopularityStore
from rowbank_server.retrieval.events.repeats import Repeats
from rowbank_server.retrieval.hosting.hosts import Hosts
from rowbank_server.retrieval.hosting.serving import Serving
from rowbank_server.retrieval.metrics import Metrics
from rowbank_server.retrieval.processes.team import Team
from rowbank_server.retrieval.reach import Reach
from rowbank_server.security.caller import require_model
from rowbank_server.security.gate import Gate
from rowbank_server.ui.data import Source

T = TypeVar("T")


def _is_there() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Caller:
    """How a call came, whatever it asks.

    Attributes:
        as_strings: the answer is to have all ids as strings.
        deadline_s: by `time.monotonic`: until when somebody waits for the answer; None: as long as it takes.
        is_gone: whether nobody waits any more.
    """

    as_strings: bool = False
    deadline_s: float | None = None
    is_gone: Callable[[], bool] = _is_there


@dataclass(frozen=True, slots=True)
class Limits:
    """What callers may ask of the service at once.

    Attributes:
        body_timeout_s: how long a body may take to arrive, and how long an import may be silent.
        max_imports: imports at the same time.
        import_max_bytes: of one import.
    """

    body_timeout_s: float
    max_imports: int
    import_max_bytes: int


@dataclass(frozen=True, slots=True)
class Service:
    """Everything that operations need.

    Attributes:
        hosts: the models that are served.
        history_limit: items that a user's history keeps.
        rules: what the kinds of events count for.
        popularity: counts events by time.
        repeats: events that were recorded.
        filters: those that are stored with models.
        redis: guards what calls other than queries ask of Redis.
        redis_wait_s: the longest that such a call waits.
        page: what /ui is told.
        gate: asks callers for tokens; None: anybody may ask anything.
        team: the workers beside this process; None where it is alone.
    """

    hosts: Hosts
    history_limit: int
    rules: EventRules
    popularity: PopularityStore
    repeats: Repeats
    limits: Limits
    filters: FilterStore
    registry: ModelRegistry
    activation: Activation
    reach: Reach
    metrics: Metrics
    redis: Guard
    redis_wait_s: float
    page: Source
    gate: Gate | None = None
    team: Team | None = None

    @property
    def retention_s(self) -> float:
        """How long events are counted for."""
        return self.popularity.retention_s

    def named(self, model: str) -> str:
        """The name of a model, or of the default one. Raises PermissionDenied: the caller's token is not for it."""
        name = model or self.hosts.default_model
        require_model(name)
        return name

    def serving(self, model: str = "") -> Serving:
        """The version of a model, or of the default one, that is in service. Raises NotReady, ModelNotFound."""
        return self.hosts.of(model).serving()

    async def ask_redis(self, call: Callable[[], T], caller: Caller, *, within_s: float = 0.0) -> T:
        """What `call` returns or raises.

        Args:
            within_s: the longest wait; 0: as the setting says.
        Raises:
            RedisUnavailable: that takes too long, or would.
            DeadlineExceeded: nobody waits any more; what was begun may still be done.
        """
        return await in_time(self.redis.acall(call, within_s=within_s or self.redis_wait_s), caller)


async def in_time(call: Coroutine[Any, Any, T], caller: Caller) -> T:
    """What a call returns or raises; DeadlineExceeded: nobody waits any more, and what was begun may still be done."""
    if caller.deadline_s is None:
        return await call
    left_s = caller.deadline_s - time.monotonic()
    if left_s <= 0:
        call.close()
        raise DeadlineExceeded("the deadline passed before anything was done; give the request more time")
    try:
        return await asyncio.wait_for(call, left_s)
    except asyncio.TimeoutError:
        raise DeadlineExceeded("the deadline passed first; what was begun may still be done") from None
