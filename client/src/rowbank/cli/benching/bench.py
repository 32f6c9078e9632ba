"""`rowbank bench`."""

from __future__ import annotations

import contextlib
import secrets
import signal
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from rowbank.cli.options import Output, OutputFormat, Target, connect, report_degraded
from rowbank.cli.output import emit_rows

if TYPE_CHECKING:
    from rowbank import Client, TableSpec
    from rowbank.cli.benching.workers import Load, Measured

_COLUMNS = {
    "verb": "VERB", "requests": "REQUESTS", "failed": "FAILED", "requests_per_s": "PER S", "rows_per_s": "ROWS PER S",
    "p50_ms": "P50 MS", "p90_ms": "P90 MS", "p99_ms": "P99 MS", "max_ms": "MAX MS",
}  # fmt: skip
_LOOK_S = 0.05


def bench(
    table_prefix: Annotated[
        str, typer.Option("--table-prefix", help="What the name of the table begins with that is made and dropped.")
    ] = "rowbank-bench",
    rows: Annotated[int, typer.Option("--rows", min=1, help="Rows of that table.")] = 100_000,
    dim: Annotated[int, typer.Option("--dim", min=1, max=4096, help="Width of a row.")] = 64,
    batch: Annotated[int, typer.Option("--batch", min=1, max=1_000_000, help="Keys of a request.")] = 1024,
    clients: Annotated[int, typer.Option("--clients", min=1, max=64, help="Clients that ask at the same time.")] = 4,
    pull_share: Annotated[
        float, typer.Option("--pull-share", min=0.0, max=1.0, help="Share of requests that pull; the others push.")
    ] = 0.5,
    duration_s: Annotated[float, typer.Option("--duration-s", min=0.1, help="Seconds that are measured.")] = 10.0,
    durability: Annotated[
        str | None, typer.Option("--durability", help="When a push is acknowledged.", show_default="the server's")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask, also where others use the server.")] = False,
    target: Target = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Measure how fast the server pulls and pushes, on a table that is made for it and dropped."""
    from rowbank import Adagrad, TableSpec, Uniform
    from rowbank.cli.benching.workers import Load

    load = Load(f"{table_prefix}-{secrets.token_hex(4)}", rows, dim, batch, pull_share)
    spec = TableSpec(
        load.table, dim=dim, initializer=Uniform(-0.05, 0.05, seed=7), optimizer=Adagrad(0.1), durability=durability
    )
    with _interruptible(), connect(target) as client:
        _warn(client, f"{table_prefix}-", yes=yes)
        interrupted = False
        with _scratch(client, spec):
            try:
                records = _measure(client, load, target, clients, duration_s)
            except KeyboardInterrupt:
                interrupted, records = True, []
    if interrupted:
        raise typer.Exit(130)
    emit_rows(records, _COLUMNS, output, empty="nothing was measured")
    report_degraded([f"{one['failed']} of the {one['verb']}s failed: {one['failures']}" for one in records
                     if one["failed"]])  # fmt: skip


def _measure(client: Client, load: Load, target: str | None, clients: int, duration_s: float) -> list[dict[str, Any]]:
    from rowbank.cli.benching import workers

    workers.fill(client, load)
    with contextlib.ExitStack() as stack:
        asking = [stack.enter_context(connect(target)) for _ in range(clients)]
        started = time.monotonic()
        measured: dict[str, Measured]
        with workers.working(asking, load) as measured:
            while time.monotonic() < started + duration_s:
                time.sleep(_LOOK_S)
            elapsed_s = time.monotonic() - started
    return workers.records(measured, load, elapsed_s=elapsed_s, clients=clients)


def _warn(client: Client, prefix: str, *, yes: bool) -> None:
    """Says what else is there, and asks before it takes others' time. Raises typer.Abort."""
    stats = [one for one in client.stats() if one.rows]
    left = [one.table for one in stats if one.table.startswith(prefix)]
    for name in left:
        typer.echo(f"warning: {name} is left over; drop it with: rowbank table drop {name} --yes", err=True)
    others = [one for one in stats if one.table not in left]
    if not others:
        return
    text = f"this server holds {len(others)} tables with {sum(one.rows for one in others):,} rows"
    typer.echo(f"warning: {text}; a bench takes time and memory from whoever uses them", err=True)
    if yes:
        return
    if not sys.stdin.isatty():
        raise typer.BadParameter("nobody can be asked here; confirm with --yes", param_hint="--yes")
    typer.confirm("go on?", abort=True)


@contextlib.contextmanager
def _scratch(client: Client, spec: TableSpec) -> Iterator[None]:
    """Makes a table, and drops it when the block ends, however it ends; nothing interrupts that."""
    from rowbank.errors import RowbankError

    made = True  # An interrupt may come between the server's answer and ours.
    try:
        try:
            client.create_table(spec)
        except RowbankError:
            made = False
            raise
        yield
    finally:
        if made:
            _drop(client, spec.name)


def _drop(client: Client, table: str) -> None:
    from rowbank.errors import RowbankError

    kept = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        client.drop_table(table, missing_ok=True)
    except RowbankError as error:
        typer.echo(f"warning: {table} is left: {error}; drop it with: rowbank table drop {table} --yes", err=True)
    finally:
        signal.signal(signal.SIGINT, kept)


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Lets SIGTERM end the bench as Ctrl-C does."""

    def interrupt(_number: int, _frame: object) -> NoReturn:
        raise KeyboardInterrupt

    kept = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, kept)
