"""Turns of requests that are here whole: a few are worked on, the others wait in a fair line.

gRPC's own line, in front of its threads, is first come, first served. So there are more threads than there is work to
do at the same time, and they wait here, where it is known who asks for what.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType

import grpc

from rowbank.errors import DeadlineExceeded, Overloaded
from rowbank_server.fairness import FairQueue, Flow
from rowbank_server.tenancy import tenant_of

_LONGEST_WAIT_S = 30.0
_CONTEST_S = 1.0  # Callers who asked within this time are there at the same time.
_CONTESTED_WINDOW = 3 << 20
_WINDOW = 64 << 20
_S_PER_BYTE = 1e-9  # What the bytes of a request cost before a thread has them.
_turns = threading.local()


class Turns:
    """A fair line in front of `slots` requests at the same time. Thread-safe.

    While several callers ask, none of them has more than about a window of bytes that are being worked on or sent:
    gRPC's one thread that writes to all connections takes what it is given in the order in which it gets it. Who does
    not read its answers waits for nobody but itself.

    Args:
        weights: of tables.
        fair: whether callers and tables take turns; else it is first come, first served.
        on_wait: told how long each one waited, in seconds.
    """

    def __init__(
        self, slots: int, weights: Mapping[str, float], on_wait: Callable[[float], None], *, fair: bool
    ) -> None:
        self._fair = fair
        self._free = slots
        self._slots = slots
        self._queue: FairQueue[Turn] = FairQueue(weights)
        self._lock = threading.Lock()
        self._on_wait = on_wait
        self._unsent: Counter[str] = Counter()  # By caller.
        self._last = ("", "", 0.0)  # The caller of the last request, the one before it, and until when that counts.

    def turn(self, context: grpc.ServicerContext, tables: Sequence[str], size: int) -> Turn:
        """A turn of a request of `size` bytes, to be used as a context manager."""
        flow = Flow(tenant_of(context.peer()), tuple(tables)) if self._fair else Flow("", ())
        return Turn(self, flow, size, context)

    def take(self, turn: Turn) -> None:
        """Waits until it is the turn's. Raises Overloaded, DeadlineExceeded."""
        turn.ready.acquire()
        with self._lock:
            self._note(turn.flow.caller)
            self._queue.enter(turn.flow)
            self._queue.wait(turn.flow, turn)
            self._begin_next()
        if turn.ready.acquire(blocking=False):
            self._on_wait(0.0)
            return
        began = time.monotonic()
        left_s = turn.context.time_remaining()
        came = turn.ready.acquire(timeout=_LONGEST_WAIT_S if left_s is None else max(0.0, min(left_s, _LONGEST_WAIT_S)))
        self._on_wait(time.monotonic() - began)
        if not came and self._withdrawn(turn):
            raise Overloaded("this request was not worked on within its deadline; too many others were")
        if not turn.context.is_active():
            self.give_back(turn, 0.0)
            self.sent(turn)
            raise DeadlineExceeded("the caller went away while the request waited; nothing was done")

    def give_back(self, turn: Turn, cpu_s: float) -> None:
        """Ends the work of a turn; its answer may still be on its way."""
        with self._lock:
            self._queue.end(turn.flow, turn.charged, cpu_s + turn.size * _S_PER_BYTE)
            self._free += 1
            self._begin_next()

    def sent(self, turn: Turn) -> None:
        """The answer is on its way no more."""
        with self._lock:
            self._unsent[turn.flow.caller] -= turn.size
            if not self._unsent[turn.flow.caller]:
                del self._unsent[turn.flow.caller]
            self._begin_next()

    def expected_wait_s(self) -> float:
        """How long the line is, about."""
        with self._lock:
            return 0.01 * len(self._queue) / self._slots

    def _note(self, caller: str) -> None:
        last, before, until = self._last
        if caller != last:
            self._last = (caller, last, time.monotonic() + _CONTEST_S)
        elif before and time.monotonic() > until:
            self._last = (caller, "", 0.0)

    def _begin_next(self) -> None:
        while self._free and len(self._queue):
            found = self._queue.next(self._may_go)
            if found is None:
                return
            flow, turn = found
            self._free -= 1
            turn.charged = self._queue.begin(flow)
            self._unsent[flow.caller] += turn.size
            turn.ready.release()

    def _may_go(self, flow: Flow, turn: Turn) -> bool:
        unsent = self._unsent.get(flow.caller, 0)
        window = _CONTESTED_WINDOW if self._last[1] else _WINDOW
        return not unsent or unsent + turn.size <= window

    def _withdrawn(self, turn: Turn) -> bool:
        with self._lock:
            if turn.ready.acquire(blocking=False):
                return False
            self._queue.withdraw(turn.flow, turn)
            return True


class Turn:
    """One request's turn: waits for it when entered, gives it back when left, or sooner by `leave_early`."""

    __slots__ = ("_began", "_taken", "_turns", "charged", "context", "flow", "ready", "size")

    def __init__(self, turns: Turns, flow: Flow, size: int, context: grpc.ServicerContext) -> None:
        self.flow = flow
        self.size = size
        self.context = context
        self.charged = 0.0
        self.ready = threading.Lock()
        self._turns = turns
        self._taken = False
        self._began = 0.0

    def __enter__(self) -> Turn:
        self._turns.take(self)
        self._taken = True
        if not self.context.add_callback(lambda: self._turns.sent(self)):
            self._turns.sent(self)
        self._began = time.thread_time()
        _turns.current = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _turns.current = None
        self.leave()

    def leave(self) -> None:
        """Gives the turn back, once. REQUIRES: called by the thread that took it."""
        if self._taken:
            self._taken = False
            self._turns.give_back(self, time.thread_time() - self._began)


def leave_early() -> None:
    """Lets others work while this thread waits for something else, with nothing to do afterwards."""
    turn = getattr(_turns, "current", None)
    if turn is not None:
        turn.leave()
