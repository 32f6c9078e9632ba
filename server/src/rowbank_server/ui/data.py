"""What the page asks for, the same of every process: an overview, the past, a table."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from rowbank.errors import InvalidRequest, Overloaded
from rowbank.insight import Simulation, WhatIf
from rowbank_server.ui import files
from rowbank_server.ui.history import SPANS, Excerpt, History
from rowbank_server.ui.series import Key

_DIGITS = 5  # Significant ones; nobody sees more in a chart.
_thinking = threading.Lock()
_TABLES = 12  # With a line of their own in the overview.


class Source(Protocol):
    """What a process knows for the page. Methods may take a while, and never wait for long."""

    @property
    def history(self) -> History:
        """What was sampled."""
        ...

    def overview(self) -> dict[str, Any]:
        """The process, shards, tables, models, Redis."""
        ...

    def table(self, name: str) -> dict[str, Any]:
        """One table. Raises TableNotFound."""
        ...

    def what_if(self, name: str, policies: Sequence[WhatIf]) -> Simulation:
        """Policies tried in thought on a table. Raises TableNotFound, InvalidRequest."""
        ...


def answer(source: Source, what: str, given: Mapping[str, str]) -> dict[str, Any] | None:
    """The answer to a question of the page; None: there is no such question.

    Args:
        given: the query parameters.
    Raises:
        RequestError: InvalidRequest, TableNotFound.
    """
    if what == "overview":
        return {**source.overview(), "charts": files.has_charts()}
    if what == "history":
        return _history(source.history, given)
    if what == "table":
        return {**source.table(_required(given, "name")), "charts": files.has_charts()}
    if what == "what-if":
        return _what_if(source, given)
    return None


def _what_if(source: Source, given: Mapping[str, str]) -> dict[str, Any]:
    """One at a time: each takes a processor for a moment, and whoever waits can ask again."""
    name, policy = _required(given, "name"), WhatIf.parse(_required(given, "policy"))
    if not _thinking.acquire(blocking=False):
        raise Overloaded("another policy is being tried in thought; ask again in a moment")
    try:
        simulation = source.what_if(name, [policy])
    finally:
        _thinking.release()
    told = asdict(simulation)
    for one, simulated in zip(
        [told["present"], *told["policies"]], [simulation.present, *simulation.policies], strict=True
    ):
        one["policy"] = str(simulated.policy)
    return told


def _required(given: Mapping[str, str], name: str) -> str:
    value = given.get(name, "")
    if not value:
        raise InvalidRequest(f"query parameter {name}: is missing", metadata={"field": name})
    return value


def _history(history: History, given: Mapping[str, str]) -> dict[str, Any]:
    span, table = given.get("span", "10m"), given.get("table", "")
    if span not in SPANS:
        raise InvalidRequest(
            f"query parameter span: expected one of {', '.join(SPANS)}, got {span[:40]!r}", metadata={"field": "span"}
        )
    try:
        after_s = float(given.get("after", "0"))
    except ValueError:
        after_s = math.nan
    if not math.isfinite(after_s):
        raise InvalidRequest(
            f"query parameter after: expected Unix seconds, got {given['after'][:40]!r}", metadata={"field": "after"}
        )
    excerpt = history.excerpt(span, after_s=after_s)
    chosen = _of_table(excerpt, table) if table else _of_all(excerpt)
    return {
        "span": span,
        "pace_s": excerpt.pace_s,
        "times": excerpt.times.tolist(),
        "left_out": excerpt.left_out,
        "series": [
            {"metric": key.metric, "what": key.what, "labels": dict(key.labels), "values": _shown(excerpt.series[key])}
            for key in chosen
        ],
    }


def _of_table(excerpt: Excerpt, table: str) -> list[Key]:
    return [key for key in excerpt.series if ("table", table) in key.labels]


def _of_all(excerpt: Excerpt) -> list[Key]:
    """All series but those of tables, and sizes of the largest of these."""
    sizes = [key for key in excerpt.series if key.metric == "rowbank_table_rows"]
    largest = sorted(sizes, key=lambda key: -_last(excerpt.series[key]))[:_TABLES]
    named = {key.labels for key in largest}
    return [
        key
        for key in excerpt.series
        if not any(name == "table" for name, _ in key.labels)
        or (key.labels in named and key.metric in ("rowbank_table_rows", "rowbank_table_bytes"))
    ]


def _last(column: npt.NDArray[np.float32]) -> float:
    known = column[np.isfinite(column)]
    return float(known[-1]) if len(known) else 0.0


def _shown(column: npt.NDArray[np.float32]) -> list[float | None]:
    return [float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None for value in column.tolist()]
