"""Advice about caps: which one would keep rows from going too early, and what it costs."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rowbank.insight import Advice, SimulatedPolicy, Simulation, WhatIf

REGRET_BELOW = 0.01
_FACTORS = (1.1, 1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 16.0)


def caps_to_try(rows_now: int) -> list[WhatIf]:
    """Larger caps than `rows_now`, by rows alone, smallest first."""
    return [WhatIf(max_rows=max(1, round(rows_now * factor)), max_bytes=0) for factor in _FACTORS]


def cap_in_rows(policy: WhatIf, rows: int, bytes_: int) -> int:
    """The cap of `policy` in rows, of a table whose rows take so many bytes; 0: none."""
    caps = [policy.max_rows] if policy.max_rows else []
    if policy.max_bytes:
        caps.append(int(policy.max_bytes / max(bytes_ / rows, 1.0)) if rows else 0)
    return min(caps, default=0)


def advise(simulation: Simulation, cap: int, regret_below: float) -> Advice:
    """What `simulation`, of `caps_to_try(cap)`, says about a table with that cap."""
    present = simulation.present.regret_share
    at_s = int(time.time())
    if present is None:
        return _advice(simulation, at_s, 0.0, regret_below, cap, None, "the access sample has no pushes to judge by")
    now = f"{_percent(present)} of pushes are of keys that were evicted a short while before"
    if present <= regret_below:
        return _advice(simulation, at_s, present, regret_below, cap, None, f"no change is needed: {now}")
    enough = _first_enough(simulation.policies, regret_below)
    if enough is None:
        text = f"{now}, and no cap up to {_FACTORS[-1]:g} times the present one brings that below"
        return _advice(simulation, at_s, present, regret_below, cap, None, f"{text} {_percent(regret_below)}")
    more = _binary(enough.bytes_later - simulation.present.bytes_later)
    text = f"{now}; max_rows {enough.policy.max_rows:,} instead of {cap:,} brings that to "
    text += f"{_percent(enough.regret_share or 0.0)} and takes {more} more RAM"
    return _advice(simulation, at_s, present, regret_below, cap, enough, text)


def _first_enough(policies: Sequence[SimulatedPolicy], regret_below: float) -> SimulatedPolicy | None:
    for one in policies:
        if one.regret_share is not None and one.regret_share <= regret_below:
            return one
    return None


def _advice(
    simulation: Simulation,
    at_s: int,
    share: float,
    regret_below: float,
    cap: int,
    enough: SimulatedPolicy | None,
    text: str,
) -> Advice:
    return Advice(
        table=simulation.table,
        at_s=at_s,
        regret_share=share,
        regret_below=regret_below,
        max_rows_now=cap,
        max_rows=(enough.policy.max_rows or 0) if enough else 0,
        regret_then=(enough.regret_share or 0.0) if enough else 0.0,
        more_bytes=enough.bytes_later - simulation.present.bytes_later if enough else 0,
        text=text,
    )


def _percent(share: float) -> str:
    return f"{share * 100:.2g} %"


def _binary(count: int) -> str:
    size = float(count)
    for unit in ("B", "KiB", "MiB"):
        if abs(size) < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
