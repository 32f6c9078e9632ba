"""A thread that lets others first does so for good and alone, and never raises its priority."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from rowbank_protos.patience import go_soon, let_others_first

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities of threads")


def nice_of_this_thread():
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def in_a_thread(act):
    found = []
    thread = threading.Thread(target=lambda: found.append(act()))
    thread.start()
    thread.join()
    return found[0]


def test_only_the_thread_that_asks_gets_a_lower_priority():
    before = nice_of_this_thread()

    def ask():
        let_others_first()
        return nice_of_this_thread(), in_a_thread(nice_of_this_thread)

    own, child = in_a_thread(ask)
    assert own == child == max(10, before)
    assert nice_of_this_thread() == before


def test_a_priority_that_is_lower_stays():
    def ask():
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 15)
        let_others_first()
        return nice_of_this_thread()

    assert in_a_thread(ask) == 15


def test_who_goes_soon_keeps_its_priority():
    def ask():
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 3)
        go_soon()
        return nice_of_this_thread()

    assert in_a_thread(ask) == 3


def test_a_thread_of_another_kind_of_scheduling_is_left_alone():
    def ask():
        thread = threading.get_native_id()
        os.sched_setscheduler(thread, os.SCHED_IDLE, os.sched_param(0))
        before = nice_of_this_thread()
        let_others_first()
        return os.sched_getscheduler(thread), nice_of_this_thread() - before

    assert in_a_thread(ask) == (os.SCHED_IDLE, 0)


PROGRAM = """
import sys
import threading
from rowbank_protos import patience

getattr(patience, sys.argv[1])()
text = open(f"/proc/self/task/{threading.get_native_id()}/sched").read()
print(*[line.split()[-1] for line in text.splitlines() if line.startswith("se.slice")])
"""


@pytest.mark.parametrize("call", ["let_others_first", "go_soon"])
def test_its_turns_are_short_where_the_system_tells(call):
    result = subprocess.run([sys.executable, "-c", PROGRAM, call], capture_output=True, text=True)
    if result.returncode or not result.stdout.strip():
        pytest.skip("this kernel does not tell how long turns are")
    assert result.stdout.strip() == "100000"
