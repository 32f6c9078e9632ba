"""Several workers on the same tables at once, none too far ahead of the slowest.

    from rowbank import Client
    from rowbank.workers import WorkerGroup

    with Client() as client, WorkerGroup(client, "run-7", "worker-0", max_staleness_steps=4, size=2) as group:
        group.wait_complete(timeout_s=60)
        for step, batch in enumerate(batches, start=1):
            train(batch)
            group.advance(step)             # waits while this worker is more than 4 steps ahead

docs/training.md, "Several workers", has the details. Framework-free; `rowbank.keras.workers` has a Keras callback.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import uuid
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rowbank._checks import at_least, seconds
from rowbank.calls import methods
from rowbank.errors import (
    DeadlineExceeded,
    InvalidRequest,
    RowbankError,
    WorkerNotFound,
    WorkerReplaced,
    shown,
)
from rowbank_protos.v1 import workers_pb2

if TYPE_CHECKING:
    from rowbank.client import Client

_FIRST_PAUSE_S = 0.001
_LONGEST_PAUSE_S = 0.05
_BEATS_PER_LEASE = 3
_LONGEST_LEASE_S = 4_294_967.0  # 32 bits of milliseconds.


@dataclass(frozen=True, slots=True)
class Lead:
    """Where a worker stood when it was let go on.

    Attributes:
        steps: how many more it had done than the slowest member: its measured staleness, at most the group's bound.
        behind: how many fewer than the fastest.
        waited_s: seconds it had to wait.
        workers: members at that moment.
    """

    steps: int
    behind: int
    waited_s: float
    workers: int


@dataclass(slots=True)
class Staleness:
    """What a worker measured so far.

    Attributes:
        advances: how often it was let go on.
        max_steps: the largest lead.
        total_steps: the sum of all leads.
        waited_s: seconds spent waiting.
        rejoins: how often it had lost its membership and joined again.
    """

    advances: int = 0
    max_steps: int = 0
    total_steps: int = 0
    waited_s: float = 0.0
    rejoins: int = 0

    @property
    def mean_steps(self) -> float:
        """The mean lead."""
        return self.total_steps / self.advances if self.advances else 0.0


class WorkerGroup:
    """A worker's membership in a group. It is kept alive by a thread of its own, so that slow steps do not end it.

    Used by one training loop at a time. Leave it with `leave`, or use it in a `with`. It belongs to the process that
    joined: a forked child has no part in it, and joins under a worker id of its own.

    Args:
        client: whose shard 0 keeps the group.
        name: the same for all workers of a run; another for every run.
        worker_id: unique in the group. A worker that was started again may take its old one; the earlier process, if it
            still lives, is told so.
        max_staleness_steps: how many more steps than the slowest a worker may have done when it begins another; 0 is
            lockstep.
        lease_s: a worker that is not heard of for this long, because it or its network died, is not waited for.
        size: how many workers belong to the group; nobody goes on before all have joined, or a lease passed. 0: not
            known, everybody goes on at once.
        step: steps done so far.
    Raises:
        InvalidRequest: an argument is out of range, or not what the other workers of the group have; from any method:
            the process is a forked child of the one that joined.
        ShardUnavailable: the server does not answer.
    """

    def __init__(
        self,
        client: Client,
        name: str,
        worker_id: str,
        *,
        max_staleness_steps: int,
        lease_s: float = 10.0,
        size: int = 0,
        step: int = 0,
    ) -> None:
        for what, value in (("max_staleness_steps", max_staleness_steps), ("size", size), ("step", step)):
            at_least(what, value, 0, bits=32 if what == "size" else 63)
        if seconds("lease_s", lease_s) > _LONGEST_LEASE_S:
            raise InvalidRequest(f"lease_s: expected at most {_LONGEST_LEASE_S:.0f} seconds, got {shown(lease_s)}")
        self.name, self.worker_id, self.max_staleness_steps = name, worker_id, max_staleness_steps
        self.staleness = Staleness()
        self._transport = client.calls.transport
        self._lease_s, self._size, self._step = lease_s, size, step
        self._incarnation, self._pid = uuid.uuid4().hex, os.getpid()
        self._replaced: WorkerReplaced | None = None
        self._ended = threading.Event()
        self._join()
        self._beats = threading.Thread(target=self._beat, name=f"worker-{worker_id}", daemon=True)
        self._beats.start()

    def __enter__(self) -> WorkerGroup:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.leave()

    def wait_complete(self, *, timeout_s: float) -> None:
        """Waits until as many workers as the group's size have joined. Raises `DeadlineExceeded`."""
        started, pause_s = time.monotonic(), _FIRST_PAUSE_S
        while not (state := self._report(self._step)).complete:
            if time.monotonic() - started > timeout_s:
                raise DeadlineExceeded(
                    f"group {self.name!r}: {state.workers} of {self._size} workers joined within {timeout_s:.0f} s; "
                    "are all of them started, with the same group?"
                )
            pause_s = self._pause(pause_s)

    def wait_last(self, *, timeout_s: float) -> None:
        """Waits until all other workers have left, or their leases are over. Raises `DeadlineExceeded`."""
        started, pause_s = time.monotonic(), _FIRST_PAUSE_S
        while (state := self._report(self._step)).workers > 1:
            if time.monotonic() - started > timeout_s:
                raise DeadlineExceeded(
                    f"group {self.name!r}: {state.workers - 1} other workers are still there after {timeout_s:.0f} s; "
                    f"the slowest, {state.slowest_worker!r}, has done {state.slowest_step} steps"
                )
            pause_s = self._pause(pause_s)

    def advance(self, step: int, *, timeout_s: float | None = None) -> Lead:
        """Says that `step` steps are done and waits until this worker may begin the next one.

        Args:
            step: steps done by this worker, rising.
            timeout_s: how long to wait at most; None: as long as it takes.
        Raises:
            DeadlineExceeded: the slowest worker did not come near enough in time; the message names it.
            WorkerReplaced: another process took this worker's id.
        """
        self._step = at_least("step", step, 0)
        started, pause_s = time.monotonic(), _FIRST_PAUSE_S
        while True:
            state = self._report(step)
            waited_s = time.monotonic() - started
            if state.may_go_on:
                break
            if timeout_s is not None and waited_s > timeout_s:
                raise DeadlineExceeded(
                    f"group {self.name!r}: worker {self.worker_id!r} has done {step} steps and waited {waited_s:.1f} s "
                    f"for {state.slowest_worker!r}, which has done {state.slowest_step}"
                )
            pause_s = self._pause(pause_s)
        lead = Lead(step - state.slowest_step, state.fastest_step - step, waited_s, state.workers)
        self.staleness.advances += 1
        self.staleness.total_steps += lead.steps
        self.staleness.max_steps = max(self.staleness.max_steps, lead.steps)
        self.staleness.waited_s += waited_s
        return lead

    def leave(self) -> None:
        """Ends the membership; the others need not wait for this worker.

        Calling it twice does no harm; in a forked child it does nothing.
        """
        if os.getpid() != self._pid or self._ended.is_set():
            return
        self._ended.set()
        self._beats.join()
        request = workers_pb2.LeaveGroupRequest(
            group=self.name, worker_id=self.worker_id, incarnation=self._incarnation
        )
        with contextlib.suppress(RowbankError):  # The lease ends it too.
            self._transport.one(methods.LEAVE_GROUP, 0, request)

    def __reduce__(self) -> Any:
        raise InvalidRequest(
            f"pickle: the membership of worker {self.worker_id!r} belongs to its process; pickle the Client, and make "
            "a WorkerGroup with another worker_id where it is unpickled"
        )

    def _join(self) -> workers_pb2.GroupState:
        request = workers_pb2.JoinGroupRequest(
            group=self.name,
            worker_id=self.worker_id,
            incarnation=self._incarnation,
            step=self._step,
            max_staleness_steps=self.max_staleness_steps,
            lease_ms=round(self._lease_s * 1e3),
            size=self._size,
        )
        return self._transport.one(methods.JOIN_GROUP, 0, request)

    def _report(self, step: int) -> workers_pb2.GroupState:
        if os.getpid() != self._pid:
            raise InvalidRequest(
                f"group {self.name!r}: worker {self.worker_id!r} is process {self._pid}, which forked this one; make a "
                "WorkerGroup with another worker_id here"
            )
        if self._replaced is not None:
            raise self._replaced
        request = workers_pb2.AdvanceRequest(
            group=self.name, worker_id=self.worker_id, incarnation=self._incarnation, step=step
        )
        try:
            return self._transport.one(methods.ADVANCE, 0, request)
        except WorkerNotFound:
            self.staleness.rejoins += 1
            return self._join()
        except WorkerReplaced as error:
            self._replaced = error
            raise

    def _beat(self) -> None:
        while self._replaced is None and not self._ended.wait(self._lease_s / _BEATS_PER_LEASE):
            # Whatever other trouble there is, the next `advance` meets it too and says so.
            with contextlib.suppress(RowbankError):
                self._report(self._step)

    def _pause(self, pause_s: float) -> float:
        time.sleep(pause_s)
        return min(2.0 * pause_s, _LONGEST_PAUSE_S)
