"""Who goes next where more wait than can be worked on: whoever has had least, callers and tables alike.

Problem: in a queue that serves first come, first served, whoever asks most gets most, and a caller who asks once waits
behind all of it. Idea: every caller and every table has a clock that advances by the work done for it, divided by its
weight. Of the flows that wait - a flow is a caller and the tables it asks for - the one goes next whose caller's and
tables' clocks have advanced least, added up. Who was idle begins where those that are served stand now, so nobody
saves up work or pays for what others did. Work that is begun is charged at what such work took lately, and
settled when it has ended. Not thread-safe.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

Item = TypeVar("Item")

_SMOOTHING = 0.1
_MOST_ACCOUNTS = 4096  # Beyond it, those of the idle are forgotten.
_MOST_OUTDATED = 64  # Places in the heap, beside as many as there are flows, that nobody stands at any more.


@dataclass(slots=True)
class _Account:
    """One caller or table. `busy`: how much of it waits or is worked on."""

    clock: float = 0.0
    busy: int = 0
    usual: float = 0.0


class Flow(NamedTuple):
    """Who asks, and for which tables."""

    caller: str
    tables: tuple[str, ...]


@dataclass(slots=True)
class _Side:
    """The accounts of all callers, or of all tables. `now`: where those that are served stand."""

    accounts: dict[str, _Account] = field(default_factory=dict)
    now: float = 0.0

    def enter(self, name: str) -> None:
        account = self.accounts.get(name)
        if account is None:
            account = self.accounts[name] = _Account(self.now)
        if not account.busy:
            account.clock = max(account.clock, self.now)
        account.busy += 1

    def leave(self, name: str) -> None:
        self.accounts[name].busy -= 1
        if len(self.accounts) > _MOST_ACCOUNTS:
            for idle in [one for one, account in self.accounts.items() if not account.busy]:
                del self.accounts[idle]


class _Place(NamedTuple):
    """Where a flow without tables stands in line; `number` says who has waited longer where clocks are alike."""

    clock: float
    number: int
    flow: Flow


class FairQueue(Generic[Item]):
    """What waits, by flow, and the clocks.

    Flows without tables are found by a heap: their clocks move only when they themselves are charged. One that has
    moved has a new place there, and the old one is passed by when its turn comes. Those with tables share clocks, so
    all of them are looked at.

    Args:
        weights: of tables; a table that is not named has weight 1.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        self._weights = weights
        self._callers, self._tables = _Side(), _Side()
        self._flows: dict[Flow, deque[Item]] = {}
        self._length = 0
        self._heap: list[_Place] = []
        self._places: dict[Flow, _Place] = {}  # Of those in `_flows` that have no tables.
        self._numbers = itertools.count()

    def __len__(self) -> int:
        return self._length

    def waiting(self, flow: Flow) -> int:
        """How much of `flow` waits."""
        return len(self._flows.get(flow, ()))

    def enter(self, flow: Flow) -> None:
        """A piece of work of `flow` is here, to wait or to begin; `end` or `withdraw` must follow."""
        self._callers.enter(flow.caller)
        for table in flow.tables:
            self._tables.enter(table)

    def wait(self, flow: Flow, item: Item) -> None:
        """Puts what entered in line."""
        items = self._flows.get(flow)
        if items is None:
            items = deque()
            self._line_up(flow, items)
        items.append(item)
        self._length += 1

    def withdraw(self, flow: Flow, item: Item) -> None:
        """Takes what waits out of line again."""
        self._flows[flow].remove(item)
        self._forget_if_empty(flow)
        self._length -= 1
        self._leave(flow)

    def at_most(self) -> int:
        """No flow has more that waits than this, which is told without looking at all of them."""
        return self._length - max(len(self._flows) - 1, 0)

    def longest(self) -> Flow:
        """The flow of which most waits. REQUIRES: something waits."""
        return max(self._flows, key=lambda flow: len(self._flows[flow]))

    def give_up_last(self, flow: Flow) -> Item:
        """Takes what came last out of line; it has not been worked on."""
        item = self._flows[flow].pop()
        self._forget_if_empty(flow)
        self._length -= 1
        self._leave(flow)
        return item

    def next(self, may_go: Callable[[Flow, Item], bool] | None = None) -> tuple[Flow, Item] | None:
        """Takes what goes next out of line, of the flows whose first `may_go`, or of all; None: there is none."""
        if may_go is not None:
            able = [flow for flow, items in self._flows.items() if may_go(flow, items[0])]
        elif len(self._places) == len(self._flows):
            able = self._first()
        else:
            able = list(self._flows)
        if not able:
            return None
        flow = able[0] if len(able) == 1 else min(able, key=self._stands_at)
        items = self._flows.pop(flow)
        self._places.pop(flow, None)
        item = items.popleft()
        if items:
            self._line_up(flow, items)  # Behind all others, to which it loses where they stand alike.
        self._length -= 1
        return flow, item

    def begin(self, flow: Flow) -> float:
        """Charges work that begins; returns what was charged, for `end`."""
        account = self._callers.accounts[flow.caller]
        self._callers.now = account.clock
        if flow.tables:
            self._tables.now = max(self._tables.accounts[table].clock for table in flow.tables)
        self._charge(flow, account.usual)
        return account.usual

    def end(self, flow: Flow, charged: float, cost: float) -> None:
        """Settles work that has ended and took `cost`."""
        account = self._callers.accounts[flow.caller]
        account.usual += _SMOOTHING * (cost - account.usual) if account.usual else cost
        self._charge(flow, cost - charged)
        self._leave(flow)

    def _line_up(self, flow: Flow, items: deque[Item]) -> None:
        self._flows[flow] = items
        if not flow.tables:
            self._stand(flow, next(self._numbers))

    def _stand(self, flow: Flow, number: int) -> None:
        """Gives a flow without tables its place in the heap."""
        place = self._places[flow] = _Place(self._callers.accounts[flow.caller].clock, number, flow)
        if len(self._heap) > 2 * len(self._places) + _MOST_OUTDATED:
            self._heap = list(self._places.values())
            heapq.heapify(self._heap)
        else:
            heapq.heappush(self._heap, place)

    def _first(self) -> list[Flow]:
        """Of flows without tables, the one that goes next, if there is any."""
        while self._heap:
            place = self._heap[0]
            if self._places.get(place.flow) is place:
                return [place.flow]
            heapq.heappop(self._heap)
        return []

    def _stands_at(self, flow: Flow) -> float:
        clock = self._callers.accounts[flow.caller].clock
        if not flow.tables:
            return clock
        tables = self._tables.accounts
        return clock + max(tables[one].clock for one in flow.tables)

    def _charge(self, flow: Flow, cost: float) -> None:
        weights = [self._weights.get(table, 1.0) for table in flow.tables]
        self._callers.accounts[flow.caller].clock += cost * (len(weights) / sum(weights) if weights else 1.0)
        for table, weight in zip(flow.tables, weights, strict=True):
            self._tables.accounts[table].clock += cost / weight / len(weights)
        if self._places:
            place = self._places.get(Flow(flow.caller, ()) if flow.tables else flow)
            if place is not None:
                self._stand(place.flow, place.number)

    def _leave(self, flow: Flow) -> None:
        self._callers.leave(flow.caller)
        for table in flow.tables:
            self._tables.leave(table)

    def _forget_if_empty(self, flow: Flow) -> None:
        if not self._flows[flow]:
            del self._flows[flow]
            self._places.pop(flow, None)
