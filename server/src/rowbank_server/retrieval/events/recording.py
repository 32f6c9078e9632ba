"""Events of one user on their way into the lists that a view keeps of them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rowbank.tower_keys import HISTORY
from rowbank_server.features import LayeredView
from rowbank_server.features.views import HISTORY_TIMES, SEEN_PREFIX
from rowbank_server.retrieval.events.kinds import EventRules

TIMED = 64  # The newest items of a history, among which a late event finds its place.


@dataclass(frozen=True, slots=True)
class Event:
    """A user met an item. `time_s` is in Unix seconds; `weight` counts for what is popular."""

    user: int
    item: int
    kind: str
    weight: float
    time_s: float


def record(users: LayeredView, rules: EventRules, user: int, events: Sequence[Event], *, limit: int) -> None:
    """Takes events of one user into the history and the lists by kind, in one atomic step.

    Args:
        limit: items that each list keeps, the latest.
    Raises:
        As `LayeredView.change_lists`; nothing was changed then.
    """
    in_order = sorted(events, key=lambda event: event.time_s)
    kinds = list(dict.fromkeys(event.kind for event in in_order))
    users.store.keep_lists(users.written, [HISTORY_TIMES, *(SEEN_PREFIX + kind for kind in kinds)])
    met = [event for event in in_order if event.kind in rules.history_kinds]

    def changed(lists: dict[str, list[Any]]) -> Mapping[str, list[Any]]:
        made = {}
        for kind in kinds:
            mine = [event.item for event in in_order if event.kind == kind]
            made[SEEN_PREFIX + kind] = _united(lists[SEEN_PREFIX + kind], mine)[-limit:]
        if met:
            history, times = lists[HISTORY], lists[HISTORY_TIMES]
            for event in met:
                history, times = placed(history, times, event.item, int(event.time_s * 1e3))
            made[HISTORY], made[HISTORY_TIMES] = history[-limit:], times[-limit:]
        return made

    names = [HISTORY, HISTORY_TIMES] if met else []
    users.change_lists(user, [*names, *(SEEN_PREFIX + kind for kind in kinds)], changed)


def placed(history: list[int], times: list[int], item: int, time_ms: int) -> tuple[list[int], list[int]]:
    """A history with one item more, where its time says; and the times of its newest items.

    Args:
        times: when the last items of the history were met, ascending; nothing is known of those before, but that they
            are older.
    """
    known = times[-len(history) :] if history else []
    place = bisect_right(known, time_ms)
    at = len(history) - len(known) + place
    history = [*history[:at], item, *history[at:]]
    return history, [*known[:place], time_ms, *known[place:]][-TIMED:]


def _united(held: Sequence[int], new: Sequence[int]) -> list[int]:
    """Both, each item once where it came last."""
    return list(dict.fromkeys(reversed([*held, *new])))[::-1]
