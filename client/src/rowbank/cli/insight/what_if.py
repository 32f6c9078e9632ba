"""What `rowbank evict --what-if` and `--advise` print."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from rowbank.cli.insight.bars import duration
from rowbank.cli.options import OutputFormat
from rowbank.cli.output import emit_record, emit_rows
from rowbank.cli.screen import terminal

if TYPE_CHECKING:
    from rowbank.insight import Advice, SimulatedPolicy, Simulation

_COLUMNS = {
    "what_if": "WHAT IF",
    "hit_rate": "HIT RATE",
    "regret": "REGRET",
    "evicted_per_hour": "EVICTED/H",
    "rows_kept_now": "STAY NOW",
    "rows_later": "ROWS LATER",
    "later_bytes": "SIZE LATER",
    "cost": "COST",
}


def require_sense(what_ifs: Sequence[str]) -> None:
    """Ends the command with status 2 if one of the policies makes no sense."""
    from rowbank.errors import InvalidRequest
    from rowbank.insight import WhatIf

    try:
        for text in what_ifs:
            WhatIf.parse(text).to_proto()
    except InvalidRequest as error:
        raise typer.BadParameter(error.message.removeprefix("what-if: "), param_hint="--what-if") from None


def emit_simulation(told: Simulation, output: OutputFormat) -> None:
    """Prints a simulation: policies as lines, the table's own first; what else is to be said below."""
    policies = [_record("present", told.present), *(_record("", one) for one in told.policies)]
    if output is OutputFormat.JSON:
        whole = {field.name: getattr(told, field.name) for field in dataclasses.fields(told)}
        del whole["present"]
        emit_record({**whole, "policies": policies, "approximations": list(told.approximations)}, output)
    elif output is OutputFormat.CSV:
        emit_rows(policies, {}, output, empty="")
    else:
        shown = [_shown(record, told.bytes) for record in policies]
        emit_rows(shown, _COLUMNS, output, empty="")
        measured = "-" if told.measured_hit_rate is None else f"{told.measured_hit_rate * 100:.2f} %"
        text = [
            "",
            f"From {told.accesses:,} accesses of {duration(told.sampled_s)}, the second half counted; "
            f"the table itself found {measured} there.",
        ]
        text += [f"- {sentence}" for sentence in told.approximations]
        typer.echo("\n".join(text))


def emit_advice(advice: Advice, output: OutputFormat) -> None:
    """Prints advice: for people, its sentence."""
    if output is OutputFormat.TABLE:
        text = f"table {advice.table}: {advice.text}"
        typer.echo(textwrap.fill(text, terminal.columns(), break_long_words=False, break_on_hyphens=False))
    else:
        emit_record(dataclasses.asdict(advice), output)


def _record(name: str, one: SimulatedPolicy) -> dict[str, Any]:
    fields = {field.name: getattr(one, field.name) for field in dataclasses.fields(one)}
    del fields["policy"]
    return {"present": bool(name), "policy": str(one.policy) or "none", **fields}


def _shown(record: dict[str, Any], now_bytes: int) -> dict[str, Any]:
    def percent(share: float | None) -> str:
        return "-" if share is None else f"{share * 100:.2f} %"

    more = record["more_bytes"]
    cost = "0 %" if not now_bytes else f"{more / now_bytes * 100:+.0f} %"
    return {
        **record,
        "what_if": ("now: " if record["present"] else "") + record["policy"],
        "hit_rate": percent(record["hit_rate"]),
        "later_bytes": record["bytes_later"],
        "regret": percent(record["regret_share"]),
        "evicted_per_hour": round(record["evicted_per_hour"]),
        "cost": cost,
    }
