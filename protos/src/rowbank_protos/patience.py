"""Whose turn it is on a busy core: who does bulk work lets others go first, who is waited for goes soon."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import platform
import struct
import sys
import threading

_NICE = 10  # Against a thread that is not nice about a tenth of a core, so that bulk work goes on there, too.
_SLICE_NS = 100_000  # The least that Linux takes.
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}  # By machine: the number of a call that few C libraries have.
_ATTRIBUTES = struct.Struct("=IIQiIQQQ")  # size, policy, flags, nice, priority, runtime, deadline, period


def let_others_first() -> None:
    """Gives this thread a lower priority, for good, where the system is Linux; others of the process keep theirs.

    It does not lower the thread's chance to run on a core that is idle. Threads that it starts inherit it. Where the
    system refuses, nothing happens. Do not call it on threads that hold what others wait for.
    """
    if sys.platform != "linux":
        return
    thread = threading.get_native_id()
    with contextlib.suppress(OSError):
        policy = os.sched_getscheduler(thread)
        if policy not in (os.SCHED_OTHER, os.SCHED_BATCH):
            return
        nice = max(_NICE, os.getpriority(os.PRIO_PROCESS, thread))
        os.setpriority(os.PRIO_PROCESS, thread, nice)
        _shorten_turns(thread, policy, nice)


def go_soon() -> None:
    """Gives this thread short turns, for good: when it wakes it need not wait for those of threads that compute.

    For a thread that works for a moment at a time. It gets no more of a core than before, in the long run. Threads that
    it starts inherit it. Where the system is not Linux, or refuses, nothing happens.
    """
    if sys.platform != "linux":
        return
    thread = threading.get_native_id()
    with contextlib.suppress(OSError):
        policy = os.sched_getscheduler(thread)
        if policy in (os.SCHED_OTHER, os.SCHED_BATCH):
            _shorten_turns(thread, policy, os.getpriority(os.PRIO_PROCESS, thread))


def _shorten_turns(thread: int, policy: int, nice: int) -> None:
    """Lets others interrupt the thread sooner after its turn began, by Linux 6.12 and newer; older ones ignore it.

    Whoever got a core keeps it for some milliseconds, whatever its priority, else.
    """
    number = _SCHED_SETATTR.get(platform.machine())
    if number is not None:
        attributes = _ATTRIBUTES.pack(_ATTRIBUTES.size, policy, 0, nice, 0, _SLICE_NS, 0, 0)
        _libc().syscall(ctypes.c_long(number), thread, attributes, 0)


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
