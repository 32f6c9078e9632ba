"""Who is answered, by the part that this process plays: an owner, a replica, or a standby.

A replica answers reads alone, and says with each answer which mutations it shows and how far behind the owner it may
be. Callers say in a request's metadata what they accept. A read that began on a table which was replaced meanwhile is
refused, for it may have seen a part of it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import grpc

from rowbank.errors import InvalidRequest, NotOwner, NotReady, ReplicaTooStale
from rowbank_server.ps.following.copies import Copies, Copy
from rowbank_server.ps.services.wrapping import Interceptor, add_trailers, wrapped

OWNER, STANDBY, REPLICA = "owner", "standby", "replica"
MAX_STALENESS = "rowbank-max-staleness-ms"
MIN_POSITION = "rowbank-min-position"
WANT_POSITION = "rowbank-want-position"
POSITION = "rowbank-position"
AGE = "rowbank-age-ms"
_MOST_DIGITS = 20
# Answered whatever this process is.
_ALWAYS = frozenset(
    {
        "/rowbank.v1.AdminService/GetServerInfo",
        "/rowbank.v1.AdminService/GetStats",
        "/rowbank.v1.DeltaService/ListFollowers",
        "/rowbank.v1.DiagnosisService/Diagnose",
        "/rowbank.v1.DiagnosisService/GetHealth",
    }
)
# Which tables a request reads. A replica answers these.
_READS: dict[str, Callable[[Any], Sequence[str]]] = {
    "/rowbank.v1.RowService/Pull": lambda request: [part.table for part in request.tables],
    "/rowbank.v1.RowService/Lookup": lambda request: (request.table,),
    "/rowbank.v1.RowService/Size": lambda request: (request.table,),
    "/rowbank.v1.RowService/Export": lambda request: (request.table,),
    "/rowbank.v1.TableService/GetTable": lambda request: (request.name,),
    "/rowbank.v1.TableService/ListTables": lambda request: (),
    "/rowbank.v1.AdminService/DescribeRow": lambda request: (request.table,),
    "/rowbank.v1.AdminService/TopRows": lambda request: (request.table,),
}
_MUTATIONS = frozenset(
    f"/rowbank.v1.RowService/{name}"
    for name in ("Push", "Upsert", "Accumulate", "Store", "Remove", "Clear", "Touch", "Import")
)


class Followed(Protocol):
    """What a process that follows knows; see `Following`."""

    @property
    def copies(self) -> Copies: ...

    @property
    def position(self) -> int: ...

    @property
    def age_s(self) -> float: ...

    @property
    def owner_address(self) -> str: ...


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a caller accepts; None: anything."""

    max_staleness_ms: int | None = None
    min_position: int | None = None


_ANYTHING = _Wanted()
_ASKED = {MAX_STALENESS: "max_staleness_ms", MIN_POSITION: "min_position"}


class Door(Interceptor):
    """Lets in what this process may answer. Thread-safe.

    Args:
        role: what this process is now.
        followed: what it knows of its owner; None: it never follows.
        last_position: of an owner: the highest position that it gave.
        committed: the position of the last mutation that this thread committed; 0: it has none.
    """

    def __init__(
        self,
        *,
        role: Callable[[], str],
        followed: Followed | None,
        last_position: Callable[[], int],
        committed: Callable[[], int],
    ) -> None:
        self._role = role
        self._followed = followed
        self._last_position = last_position
        self._committed = committed

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler[Any, Any] | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        handler: Any = continuation(handler_call_details)
        method = str(handler_call_details.method)
        if handler is None or not method.startswith("/rowbank.") or method in _ALWAYS:
            return handler  # type: ignore[no-any-return]
        return wrapped(  # type: ignore[no-any-return]
            handler,
            unary=functools.partial(self._mutation if method in _MUTATIONS else self._unary, method=method),
            streaming=functools.partial(self._streaming, method=method),
        )

    def _mutation(self, behavior: Callable[..., Any], method: str) -> Callable[..., Any]:
        @functools.wraps(behavior)
        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            if self._role() != OWNER:
                raise self._refusal(method)
            response = behavior(request, context)
            for name, _ in context.invocation_metadata():
                if name == WANT_POSITION:
                    self._tell_position(context)
            return response

        return answer

    def _tell_position(self, context: grpc.ServicerContext) -> None:
        position = self._committed()
        if position:
            add_trailers(context, ((POSITION, str(position)),))

    def _unary(self, behavior: Callable[..., Any], method: str) -> Callable[..., Any]:
        tables_of = _READS.get(method)

        @functools.wraps(behavior)  # With gRPC's attributes: which threads run it.
        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            if self._admit_owner(method, context):
                return behavior(request, context)
            assert tables_of is not None
            copies = self._admit_reader(tables_of(request), context)
            response = behavior(request, context)
            self._require_still(copies)
            return response

        return answer

    def _streaming(self, behavior: Callable[..., Any], method: str) -> Callable[..., Any]:
        tables_of = _READS.get(method)

        @functools.wraps(behavior)
        def answer(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            if self._admit_owner(method, context):
                yield from behavior(request, context)
                return
            assert tables_of is not None
            copies = self._admit_reader(tables_of(request), context)
            for response in behavior(request, context):
                self._require_still(copies)
                yield response
            self._require_still(copies)

        return answer

    def _admit_owner(self, method: str, context: grpc.ServicerContext) -> bool:
        """True: an owner answers. False: a replica does, after a closer look. Raises NotOwner, NotReady."""
        if self._role() == OWNER:
            if method in _READS:
                wanted = _wanted(context).min_position
                if wanted is not None and wanted > self._last_position():
                    raise NotReady(
                        f"position {wanted} is above the last one of this process, {self._last_position()}: another "
                        "process serves the shard by now"
                    )
            return True
        if self._role() == REPLICA and method in _READS:
            return False
        raise self._refusal(method)

    def _refusal(self, method: str) -> NotOwner | NotReady:
        owner = "" if self._followed is None else self._followed.owner_address
        where = f"the owner is at {owner}" if owner else "its owner is not known"
        metadata = {"role": self._role(), "owner": owner}
        short = method.rpartition("/")[2]
        if self._role() == REPLICA:
            return NotOwner(f"{short}: this process is a replica and answers reads alone; {where}", metadata=metadata)
        return NotReady(f"{short}: this process is a {self._role()} of the shard; {where}", metadata=metadata)

    def _admit_reader(self, names: Sequence[str], context: grpc.ServicerContext) -> list[Copy]:
        """Lets a read of these tables in, and says what it will show at least. Raises ReplicaTooStale."""
        followed = self._followed
        assert followed is not None
        wanted = _wanted(context)
        # What is told is read before the rows are, which are newer if anything.
        position, age_ms = followed.position, followed.age_s * 1e3
        if wanted.min_position is not None and wanted.min_position > position:
            raise self._stale(f"it has position {position}, {wanted.min_position} was asked for")
        limit = wanted.max_staleness_ms
        if limit is not None and (limit == 0 or age_ms > limit):
            raise self._stale(f"it may be {_shown(age_ms)} ms old, at most {limit} were allowed")
        copies = []
        for name in names:
            copy = followed.copies.reading(name)
            if copy is None:
                raise self._stale(f"table {name!r} is not here, or not whole yet")
            copies.append(copy)
        add_trailers(context, ((POSITION, str(position)), (AGE, _shown(age_ms))))
        return copies

    def _require_still(self, copies: Sequence[Copy]) -> None:
        for copy in copies:
            if not copy.whole:
                raise self._stale(f"table {copy.table.name!r} is being taken from the owner anew")

    def _stale(self, why: str) -> ReplicaTooStale:
        owner = "" if self._followed is None else self._followed.owner_address
        where = f"at {owner}" if owner else "which is not known here"
        return ReplicaTooStale(f"this replica cannot answer: {why}; ask the owner, {where}", metadata={"owner": owner})


def _wanted(context: grpc.ServicerContext) -> _Wanted:
    """What the request's metadata ask for. Raises InvalidRequest."""
    wanted = _ANYTHING
    for name, value in context.invocation_metadata():
        field = _ASKED.get(name)
        if field is not None:
            wanted = replace(wanted, **{field: _number(name, value)})
    return wanted


def _number(name: str, value: str | bytes) -> int:
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else value
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        raise InvalidRequest(f"metadata {name}: expected a whole number of at least 0, got {text[:80]!r}")
    return int(text)


def _shown(age_ms: float) -> str:
    """Whole milliseconds, rounded up; a number above any limit where nobody knows."""
    return str(math.ceil(age_ms)) if math.isfinite(age_ms) else str(10**15)
