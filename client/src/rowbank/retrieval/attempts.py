"""When a call is made again, and where: the same rules for callers that block and those that await.

Reads, and writes of which a second one changes nothing, are made again whenever the service could not answer. Others,
such as events, only where the service said that it had not begun, or no connection came about: else the error says that
they may have been done. An address that failed is left alone for a while, longer each time, while another one answers;
one that is overloaded for as long as it asked for.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import grpc

from rowbank.calls.channels import never_sent
from rowbank.calls.failover import TLS
from rowbank.calls.methods import Method
from rowbank.errors import (
    DeadlineExceeded,
    InternalError,
    NotReady,
    Overloaded,
    RequestError,
    ServiceUnavailable,
    ShardUnavailable,
    VersionMismatch,
    from_rpc_error,
)
from rowbank.secure.diagnosis import Finding

R = TypeVar("R", covariant=True)

RETRY_AFTER_KEY = "retry_after_s"
_FIRST_BACKOFF_S = 0.05
_LONGEST_BACKOFF_S = 2.0
_HTTP = ("http1.x server", "HTTP/1.", "Failed parsing HTTP/2")


@dataclass(frozen=True, slots=True)
class Call(Generic[R]):
    """What a method of a client does.

    Attributes:
        requests: one, or the parts of a long one, made one after the other.
        decode: the answers, in the order of the requests, as the caller gets them.
        repeatable: whether making it twice does no harm.
        timeout_s: of each request, retries included; None: the client's.
    """

    method: Method[Any, Any]
    requests: Iterator[Any]
    decode: Callable[[list[Any]], R]
    repeatable: bool = True
    timeout_s: float | None = None


class Places:
    """The addresses of a service, and since when they may be asked again. Threads may share it."""

    def __init__(self, targets: Sequence[str]) -> None:
        self.targets = list(targets)
        self._again_at = [0.0] * len(targets)
        self._failures = [0] * len(targets)

    def choose(self) -> tuple[int, float]:
        """The first that may be asked now, else the one that soonest may; how long that is, in seconds."""
        now = time.monotonic()
        waits = [max(0.0, at - now) for at in self._again_at]
        place = min(range(len(waits)), key=lambda one: (waits[one], one))
        return place, waits[place]

    def worked(self, place: int) -> None:
        """It answered."""
        self._failures[place] = 0
        self._again_at[place] = 0.0

    def failed(self, place: int, pause_s: float | None) -> None:
        """It did not; `pause_s` is how long it asked to be left alone, if it did: a little longer is as good, as others
        were asked the same."""
        if pause_s is not None:
            pause_s *= random.uniform(1.0, 1.25)
        self._failures[place] = failures = min(self._failures[place] + 1, 16)
        if pause_s is None:
            longest = min(_LONGEST_BACKOFF_S, _FIRST_BACKOFF_S * 2.0 ** (failures - 1))
            pause_s = random.uniform(longest / 2.0, longest)
        self._again_at[place] = time.monotonic() + pause_s


class Attempts:
    """The attempts of one request within its deadline.

    attempts = Attempts(places, timeout_s, repeatable)
    while True:
        sleep(attempts.pause_s)
        try: return call(attempts.place, timeout=attempts.timeout_s)
        except grpc.RpcError as error: attempts.failed(error)    # raises where no further one is worth while
    """

    def __init__(self, places: Places, timeout_s: float, *, repeatable: bool, wait: bool = True) -> None:
        self._places = places
        self._wait = wait
        self._repeatable = repeatable
        self._started = time.monotonic()
        self._deadline = self._started + timeout_s
        self._count = 1
        self.place, self.pause_s = places.choose()
        # The first attempt does not wait where others say that all places failed: it may be the one that works.
        self.pause_s = 0.0

    @property
    def timeout_s(self) -> float:
        """Of the attempt that is made now. Where there is another place to go to, a mute one gets half of what is
        left: then nothing is known of what it did, so only what is repeatable goes on."""
        left = max(0.001, self._deadline - time.monotonic())
        return left / 2.0 if self._repeatable and self._count < len(self._places.targets) else left

    def worked(self) -> None:
        """The attempt was answered, by whatever the service had to say."""
        self._places.worked(self.place)

    def failed(self, rpc: grpc.RpcError, finding: Finding | None = None) -> None:
        """Says when and where the next attempt is made. Raises the error that is left where there is none.

        Args:
            finding: what is wrong with TLS at this place, so that it fails for certain.
        """
        error = _error(rpc, self._places.targets[self.place], finding)
        refused = isinstance(error, NotReady | Overloaded) or never_sent(rpc)
        away = isinstance(error, ServiceUnavailable | DeadlineExceeded) or refused
        if away:
            self._places.failed(self.place, _asked_for(error))
        else:
            self._places.worked(self.place)
        if not error.retryable or not (self._repeatable or refused):
            raise self._uncertain(error)
        if finding is not None and self._count >= len(self._places.targets):
            raise error
        self.place, self.pause_s = self._places.choose()
        if not self._wait and isinstance(error, ServiceUnavailable) and self._count >= len(self._places.targets):
            raise ServiceUnavailable(error.message + _hint(error), metadata=error.metadata)
        if time.monotonic() + self.pause_s >= self._deadline:
            raise self._exhausted(error)
        self._count += 1

    def _uncertain(self, error: RequestError) -> RequestError:
        if self._repeatable or not error.retryable:
            return error
        text = f"{error.message}; this may have been done all the same, so it was not tried again"
        return error.worded(text)

    def _exhausted(self, last: RequestError) -> RequestError:
        tried = f"{self._count} attempt{'s' if self._count > 1 else ''} in {time.monotonic() - self._started:.1f} s"
        text = f"{tried}; last: {last.message}{_hint(last)}"
        return last.worded(text, attempts=str(self._count))


def _error(rpc: grpc.RpcError, target: str, finding: Finding | None) -> RequestError:
    error = from_rpc_error(rpc, target=target)
    if finding is not None:
        return ServiceUnavailable(f"{target}: {finding.text}", metadata={**error.metadata, TLS: finding.cause})
    details = str(rpc.details() or "")
    if isinstance(error, ShardUnavailable):
        message = error.message
        if any(word in details for word in _HTTP):
            message = f"{target}: no gRPC is spoken there, but HTTP; name the address of grpc_bind"
        return ServiceUnavailable(message, metadata=error.metadata)
    if isinstance(error, DeadlineExceeded) and details == "Deadline Exceeded":  # gRPC's own words.
        return DeadlineExceeded(f"{target}: no answer in time", metadata=error.metadata)
    if isinstance(error, InternalError) and rpc.code() is grpc.StatusCode.UNIMPLEMENTED:
        return VersionMismatch(
            f"{target}: the server there does not know this call; is it a retrieval service, and of this version? "
            "(A parameter server, on port 7700 if nothing else is said, is none.)",
            metadata=error.metadata,
        )
    return error


def _hint(error: RequestError) -> str:
    if isinstance(error, ServiceUnavailable) and "HTTP" not in error.message:
        return "; is a retrieval service with gRPC (setting grpc_bind) running there?"
    return ""


def _asked_for(error: RequestError) -> float | None:
    try:
        return float(error.metadata[RETRY_AFTER_KEY])
    except (KeyError, ValueError):
        return None
