"""What a process made by fork must do with what it inherited: make anew what says who it is, and leave gRPC alone.

Problem: a forked child has copies of its parent's clients: the same client id and sequence numbers, by which a server
would take its mutations for repeats of the parent's; locks held by threads that it does not have; and gRPC, whose
sockets and poller the kernel shares between both. To use gRPC there may crash or hang the child, and to close a channel
there ends the parent's connection. Idea: whatever must not be shared is registered here and renewed in the child before
anything else runs; gRPC's objects are kept alive for ever, untouched; and once gRPC has run in an ancestor, calls go
through a process of their own (`relayed`). What it cannot know: whether other code of the parent ran gRPC.
"""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from typing import Protocol


class Renewable(Protocol):
    """Something that a forked child must not share with its parent."""

    def renew(self) -> None:
        """Called in the child, while it has one thread. Waits for no lock; does not raise."""


class _Process:
    """What is known of this process. `pid` is the one it was when its inheritance was last put in order."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.runs_grpc = False
        self.inherited_grpc = False


_process = _Process()
_watched: weakref.WeakSet[Renewable] = weakref.WeakSet()


def watch(thing: Renewable) -> None:
    """Has `thing` renewed in every child that is forked while it lives."""
    _watched.add(thing)


def may_run_grpc() -> bool:
    """Whether gRPC can be used in this process; whoever is told so is taken to use it."""
    _process.runs_grpc |= not _process.inherited_grpc
    return not _process.inherited_grpc


def keep_for_ever(*things: object) -> None:
    """Lets nothing of `things` be deallocated, not even at the end of the process: gRPC would speak to the server."""
    for thing in things:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def settle() -> None:
    """Puts the inheritance in order if that has not been done: some forks pass by Python's hooks."""
    if os.getpid() != _process.pid:
        _in_child()


class Lock:
    """A lock for `with`, which is free in a forked child, whoever held it in the parent."""

    def __init__(self) -> None:
        self.renew()
        watch(self)

    def renew(self) -> None:
        """Makes it free."""
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *failure: object) -> None:
        self._lock.release()


def _in_child() -> None:
    _process.pid = os.getpid()
    _process.inherited_grpc |= _process.runs_grpc
    for thing in list(_watched):
        thing.renew()


os.register_at_fork(after_in_child=_in_child)
