"""`rowbank stats`."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rowbank.cli.options import MISSING, Output, OutputFormat, Target, connect, missing_notes, report_degraded
from rowbank.cli.output import console, emit_rows, rows_table

if TYPE_CHECKING:
    from rowbank import Client

Records = list[dict[str, Any]]
_COLUMNS = {
    "table": "TABLE",
    "rows": "ROWS",
    "bytes": "SIZE",
    "pulled_rows": "PULLED",
    "pushed_rows": "PUSHED",
    "inserted_rows": "INSERTED",
    "evicted_rows": "EVICTED",
    "regretted_rows": "REGRETTED",
    "dirty_rows": "DIRTY",
    "step": "STEP",
    "pulled_found": "FOUND",
    "removed_rows": "REMOVED",
    "last_write_back_s": "WRITTEN BACK",
}
_EMPTY = "no tables"


def stats(
    name: Annotated[str | None, typer.Argument(metavar="[TABLE]", help="Only this table.", show_default=False)] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Print again and again, until Ctrl-C.")] = False,
    interval_s: Annotated[float, typer.Option("--interval", "-i", min=0.05, help="Seconds between two prints.")] = 2.0,
    count: Annotated[int, typer.Option("--count", min=0, help="With --watch: end after so many; 0: never.")] = 0,
    target: Target = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Show what tables hold and what happened to them since the server started."""
    degraded: list[str] = []
    with (
        connect(target, partial=True) as client,
        _screen(output, watch) as show,
        contextlib.suppress(KeyboardInterrupt),
    ):
        for done in itertools.count(1):
            records, degraded = _read(client, name)
            show(records)
            if not watch or done == count:
                break
            time.sleep(interval_s)
    report_degraded(degraded)


@contextlib.contextmanager
def _screen(output: OutputFormat, watch: bool) -> Iterator[Callable[[Records], None]]:
    """Yields what shows records: in place in a terminal, one print after the other elsewhere."""
    if not (watch and output is OutputFormat.TABLE and console().is_terminal):
        yield lambda records: emit_rows(records, _COLUMNS, output, empty=_EMPTY)
        return
    from rich.live import Live

    with Live(console=console(), auto_refresh=False) as live:

        def show(records: Records) -> None:
            live.update(rows_table(records, _COLUMNS, live.console.width) if records else _EMPTY, refresh=True)

        yield show


def _read(client: Client, name: str | None) -> tuple[Records, list[str]]:
    """Returns one record per table, and what is degraded."""
    shards = client.shard_stats()
    tables = [client.table(name).stats()] if name else client.stats()
    cut_off = [shard for shard in shards if not shard.redis_connected]
    degraded = missing_notes(client)
    degraded += [f"shard {shard.shard} ({shard.target}) cannot reach Redis" for shard in cut_off]
    degraded += [
        f"shard {info.shard} ({info.target}): Redis may evict rows (maxmemory-policy {info.redis_eviction_policy})"
        for info in client.server_info()
        if info.redis_may_evict
    ]
    degraded += [f"table {table.table} has {table.corrupt_rows} corrupt rows" for table in tables if table.corrupt_rows]
    return [{**dataclasses.asdict(table), MISSING: list(client.missing)} for table in tables], degraded
