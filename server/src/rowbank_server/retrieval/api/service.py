"""What the operations work on: the running service."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from rowbank_server.guard import Guard
from rowbank_server.registry import ModelRegistry
from rowbank_server.registry.activation import Activation
from rowbank_server.retrieval.hosting.hosts import Hosts
from rowbank_server.retrieval.hosting.serving import Serving
from rowbank_server.retrieval.metrics import Metrics
from rowbank_server.retrieval.processes.team import Team
from rowbank_server.retrieval.reach import Reach

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Service:
    """Everything that operations need.

    Attributes:
        hosts: the models that are served.
        history_limit: items that a user's history keeps.
        redis: guards what calls other than queries ask of Redis.
        redis_wait_s: the longest that such a call waits.
        team: the workers beside this process; None where it is alone.
    """

    hosts: Hosts
    history_limit: int
    registry: ModelRegistry
    activation: Activation
    reach: Reach
    metrics: Metrics
    redis: Guard
    redis_wait_s: float
    team: Team | None = None

    def serving(self, model: str = "") -> Serving:
        """The version of a model, or of the default one, that is in service. Raises NotReady, ModelNotFound."""
        return self.hosts.of(model).serving()

    async def ask_redis(self, call: Callable[[], T]) -> T:
        """What `call` returns or raises; RedisUnavailable if that takes too long, or would."""
        return await self.redis.acall(call, within_s=self.redis_wait_s)


@dataclass(frozen=True, slots=True)
class Caller:
    """How a call came, whatever it asks.

    Attributes:
        as_strings: the answer is to have all ids as strings.
        deadline_s: by `time.monotonic`: until when somebody waits for the answer; None: as long as it takes.
    """

    as_strings: bool = False
    deadline_s: float | None = None
