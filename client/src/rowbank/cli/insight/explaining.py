"""What `rowbank row --explain` adds to a row."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from rowbank.cli.insight.bars import duration, utc

if TYPE_CHECKING:
    from rowbank.insight import Departure, RowExplanation


def as_record(told: RowExplanation) -> dict[str, Any]:
    """For programs: all fields but the row's own."""
    record = {field.name: getattr(told, field.name) for field in dataclasses.fields(told) if field.name not in ("row",)}
    record["departures"] = [dataclasses.asdict(one) for one in told.departures]
    record["emptyings"] = [dataclasses.asdict(one) for one in told.emptyings]
    return record


def as_lines(told: RowExplanation) -> dict[str, str]:
    """For people: names and texts, in order."""
    lines = {"in short": told.verdict}
    if told.row.found:
        lines["goes after"] = f"{told.rows_before:,} of {told.rows:,} rows of its shard"
        if told.share_before is not None:
            lines["goes after"] += f", by {told.ranked_by} ({told.score:,.6g} as it counts now)"
        lines["changed last by"] = _author(told)
        if told.expires_in_s is not None:
            lines["expires in"] = duration(told.expires_in_s)
    if told.cold:
        lines["second chance"] = "its values are kept cold: it comes back trained when it is pulled or pushed"
    if told.min_count > 1:
        seen = "" if told.row.found else f"; seen about {told.seen}"
        lines["admission"] = f"at {told.min_count} occurrences{seen}"
    for number, departure in enumerate(told.departures, 1):
        lines[f"left {number}"] = _departure(departure)
    for number, emptied in enumerate(told.emptyings, 1):
        lines[f"table emptied {number}"] = f"{utc(emptied.at_s)}, {emptied.what}"
    if not told.departures_known:
        lines["history"] = "not known now: Redis does not answer"
    elif told.known_since_s:
        lines["history"] = f"keys that left are known since {utc(told.known_since_s)}"
    else:
        lines["history"] = "no key that left this table is known on this shard"
    return lines


def _author(told: RowExplanation) -> str:
    if told.caller:
        return f"{told.caller} (client {told.client_id})"
    return f"client {told.client_id}" if told.client_id else "not known any more"


def _departure(one: Departure) -> str:
    cut = f", rows up to a score of {one.score_cut:.6g} went" if one.score_cut else ""
    back = "; it came back" if one.came_back else ""
    idle = duration(max(one.at_s - one.last_used, 0))
    return f"{utc(one.at_s)}, {one.reason}: frequency {one.frequency:,}, last used {idle} before{cut}{back}"
