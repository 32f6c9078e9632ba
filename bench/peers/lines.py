"""How a client's program is spoken to: one JSON document a line, each answered by one. Needs NumPy alone.

`{"act": "time", "what": "pull"|"push"|"step", "count": n, "first": number}` is answered by the seconds of each call,
`{"act": "run", "what": ..., "begin": time.monotonic(), "seconds": s}` by calls and seconds of a run without pauses,
`{"act": "read", "keys": [...]}` by the rows of the first table. An end of the input ends the program.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from .work import BATCHES

Call = Callable[[int], object]  # Takes the number of a batch.


def own_output() -> TextIO:
    """What this program's answers go to; whatever libraries print from now on goes to the log."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


def serve(
    calls: Mapping[str, Call],
    read: Callable[[list[int]], Any],
    *,
    acts: Mapping[str, Any] | None = None,
    answers: TextIO | None = None,
) -> None:
    """Answers until the input ends.

    Args:
        calls: what -> a call of it, which is given the number of its batch.
        read: keys -> the rows [keys, dim] of the first table, as lists.
        acts: more acts, or others in place of those here: name -> function of what was asked.
        answers: `own_output`, where libraries print before this is called.
    """
    answers = answers or own_output()
    known: dict[str, Callable[..., Any]] = {
        "time": lambda what, count, first: _timed(calls[what], count, first),
        "run": lambda what, begin, seconds: _run(calls[what], begin, seconds),
        "read": read,
        **(acts or {}),
    }
    print(json.dumps("ready"), file=answers, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(known[asked.pop("act")](**asked)), file=answers, flush=True)


def _timed(call: Call, calls: int, first: int) -> list[float]:
    seconds = []
    for number in range(first, first + calls):
        started = time.perf_counter()
        call(number % BATCHES)
        seconds.append(time.perf_counter() - started)
    return seconds


def _run(call: Call, begin: float, seconds: float) -> tuple[int, float]:
    """Calls one after the other from `begin` on; counts those that ended within `seconds`."""
    time.sleep(max(0.0, begin - time.monotonic()))
    done, ended = 0, time.monotonic()
    started = ended
    while True:
        call(done % BATCHES)
        now = time.monotonic()
        if now - started > seconds:
            return done, ended - started
        done, ended = done + 1, now
