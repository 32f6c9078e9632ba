"""WorkerService: how far the workers of a group are, and who has to wait for whom.

Problem: workers that train the same tables without waiting for each other apply gradients of rows as they were some
steps ago, and a fast one may be any number of steps ahead. Idea (stale synchronous parallel): a worker begins a step
only while it has done at most `max_staleness_steps` more than the slowest. A worker that died would hold everybody, so
a membership is a lease. Calls never wait here, since waiting calls would take the threads that pulls and pushes need.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import grpc

from rowbank.errors import InvalidRequest, WorkerNotFound, WorkerReplaced
from rowbank_protos.v1 import workers_pb2, workers_pb2_grpc

_MAX_NAME = 256
_MAX_GROUPS = 1024
_MAX_WORKERS = 4096
_MAX_NAMES = 1 << 16  # Members and those that left, of all groups.
_MIN_LEASE_MS, _MAX_LEASE_MS = 50, 3_600_000


@dataclass(slots=True)
class _Member:
    incarnation: str
    step: int
    lease_ends_s: float


@dataclass(slots=True)
class _Group:
    """Settings, as the first member had them, and members by id."""

    size: int
    max_staleness_steps: int
    lease_ms: int
    began_s: float
    members: dict[str, _Member] = field(default_factory=dict)
    left: set[str] = field(default_factory=set)

    def expire(self, now: float) -> None:
        for worker_id in [worker_id for worker_id, member in self.members.items() if member.lease_ends_s < now]:
            del self.members[worker_id]

    def state(self, now: float, step: int) -> workers_pb2.GroupState:
        """What a worker that has done `step` steps is told."""
        slowest = min(self.members, key=lambda worker_id: self.members[worker_id].step)
        slowest_step = self.members[slowest].step
        complete = len(self.left | self.members.keys()) >= self.size
        settled = complete or now - self.began_s >= self.lease_ms / 1e3
        return workers_pb2.GroupState(
            may_go_on=settled and step - slowest_step <= self.max_staleness_steps,
            complete=complete,
            slowest_step=slowest_step,
            fastest_step=max(member.step for member in self.members.values()),
            workers=len(self.members),
            slowest_worker=slowest,
        )


class WorkerServicer(workers_pb2_grpc.WorkerServiceServicer):
    """Keeps groups in memory. Thread-safe.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._groups: dict[str, _Group] = {}
        self._lock = threading.Lock()

    def Join(  # noqa: N802
        self, request: workers_pb2.JoinGroupRequest, context: grpc.ServicerContext
    ) -> workers_pb2.GroupState:
        _check(request)
        with self._lock:
            now = self._clock()
            self._forget_dead_groups(now)
            group = self._groups.get(request.group)
            if group is None:
                if len(self._groups) >= _MAX_GROUPS:
                    raise InvalidRequest(f"group {request.group!r}: there are {_MAX_GROUPS} groups, which is the limit")
                group = _Group(request.size, request.max_staleness_steps, request.lease_ms, now)
                self._groups[request.group] = group
            _require_same_settings(group, request)
            if request.worker_id not in group.members:
                self._require_room(group, request.group)
            ends_s = now + group.lease_ms / 1e3
            group.members[request.worker_id] = _Member(request.incarnation, request.step, ends_s)
            group.left.discard(request.worker_id)
            return group.state(now, request.step)

    def Advance(  # noqa: N802
        self, request: workers_pb2.AdvanceRequest, context: grpc.ServicerContext
    ) -> workers_pb2.GroupState:
        with self._lock:
            now = self._clock()
            group = self._groups.get(request.group)
            if group is not None:
                group.expire(now)
            member = None if group is None else group.members.get(request.worker_id)
            if group is None or member is None:
                raise WorkerNotFound(
                    f"worker {request.worker_id!r} is no member of group {request.group!r}: its lease ran out, or the "
                    "server was restarted; join again"
                )
            if member.incarnation != request.incarnation:
                raise WorkerReplaced(
                    f"worker {request.worker_id!r} of group {request.group!r} was started again; stop this process"
                )
            member.step = max(member.step, request.step)
            member.lease_ends_s = now + group.lease_ms / 1e3
            return group.state(now, member.step)

    def Leave(  # noqa: N802
        self, request: workers_pb2.LeaveGroupRequest, context: grpc.ServicerContext
    ) -> workers_pb2.LeaveGroupResponse:
        with self._lock:
            group = self._groups.get(request.group)
            member = None if group is None else group.members.get(request.worker_id)
            if group is None or member is None or member.incarnation != request.incarnation:
                return workers_pb2.LeaveGroupResponse(was_member=False)
            del group.members[request.worker_id]
            if len(group.left) < group.size:  # More say nothing about whether all were there.
                group.left.add(request.worker_id)
            return workers_pb2.LeaveGroupResponse(was_member=True)

    def _require_room(self, group: _Group, name: str) -> None:
        if len(group.members) >= _MAX_WORKERS:
            raise InvalidRequest(f"group {name!r} has {_MAX_WORKERS} workers, which is the limit")
        if sum(len(other.members) + len(other.left) for other in self._groups.values()) >= _MAX_NAMES:
            raise InvalidRequest(
                f"group {name!r}: there are {_MAX_NAMES} workers in all groups, which is the limit; let leases end"
            )

    def _forget_dead_groups(self, now: float) -> None:
        for name, group in list(self._groups.items()):
            group.expire(now)
            if not group.members:
                del self._groups[name]


def _check(request: workers_pb2.JoinGroupRequest) -> None:
    for name in ("group", "worker_id", "incarnation"):
        if not 1 <= len(getattr(request, name)) <= _MAX_NAME:
            raise InvalidRequest(f"{name}: expected 1 to {_MAX_NAME} characters, got {len(getattr(request, name))}")
    if not _MIN_LEASE_MS <= request.lease_ms <= _MAX_LEASE_MS:
        raise InvalidRequest(f"lease_ms: expected {_MIN_LEASE_MS} to {_MAX_LEASE_MS}, got {request.lease_ms}")


def _require_same_settings(group: _Group, request: workers_pb2.JoinGroupRequest) -> None:
    for name in ("max_staleness_steps", "lease_ms", "size"):
        if getattr(group, name) != getattr(request, name):
            raise InvalidRequest(
                f"group {request.group!r} has {name} {getattr(group, name)}, worker {request.worker_id!r} asks for "
                f"{getattr(request, name)}; give all workers of a group the same"
            )
