"""`rowbank tables` and `rowbank table create|describe|drop`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rowbank.cli.options import (
    MISSING,
    Output,
    OutputFormat,
    TableName,
    Target,
    connect,
    missing_notes,
    report_degraded,
)
from rowbank.cli.output import emit_record, emit_rows

if TYPE_CHECKING:
    from rowbank import Client
    from rowbank.admin import TableInfo

_COLUMNS = {
    "name": "TABLE",
    "rows": "ROWS",
    "bytes": "SIZE",
    "dim": "DIM",
    "value_dtype": "DTYPE",
    "optimizer": "OPTIMIZER",
    "eviction": "EVICTION",
    "step": "STEP",
}
# What was typed for the parts of a spec that an error may name.
_OPTIONS = {
    "name": "TABLE",
    "value_dtype": "--dtype",
    "Eviction.policy": "--eviction",
    "Eviction.max_rows": "--max-rows",
    "Eviction.max_bytes": "--max-bytes",
    "Eviction.ttl_s": "--ttl-s",
    "Eviction.second_chance_bytes": "--second-chance-bytes",
    "durability": "--durability",
    "frequency_half_life_s": "--half-life-s",
}


def list_tables(target: Target = None, output: Output = OutputFormat.TABLE) -> None:
    """List the tables with their sizes."""
    with connect(target, partial=True) as client:
        infos = client.list_tables()
        records = [_record(info, client) for info in infos]
        notes = missing_notes(client)
    if output is OutputFormat.TABLE:
        records = [{**record, "optimizer": record["optimizer"].partition(":")[0]} for record in records]
    emit_rows(records, _COLUMNS, output, empty="no tables; create one with: rowbank table create NAME --dim N")
    report_degraded(notes)


_EVICTION_FIELDS = ("max_rows", "max_bytes", "low_watermark", "ttl_s", "second_chance_bytes")


def describe(name: TableName, target: Target = None, output: Output = OutputFormat.TABLE) -> None:
    """Show what one table is made of."""
    from rowbank.errors import RedisUnavailable

    with connect(target, partial=True) as client:
        record = _record(client.table_info(name), client)
        notes = missing_notes(client)
        try:
            record["holders"] = client.holders(name)
        except RedisUnavailable as error:
            record["holders"] = None
            notes.append(f"who holds the table is not known: {error.message}")
    emit_record(record, output)
    report_degraded(notes)


def create(
    name: TableName,
    dim: Annotated[int, typer.Option("--dim", min=1, max=4096, help="Width of a row, 1 to 4096.")],
    value_dtype: Annotated[str, typer.Option("--dtype", help="float32, float16 or bfloat16.")] = "float32",
    initializer: Annotated[
        str,
        typer.Option("--initializer", help="Values of an unseen key, for example uniform:low=-0.05,high=0.05."),
    ] = "zeros",
    optimizer: Annotated[
        str, typer.Option("--optimizer", help="How gradients are applied, for example adagrad:learning_rate=0.1.")
    ] = "sgd",
    min_count: Annotated[
        int, typer.Option("--min-count", min=1, max=255, help="Occurrence that gives a key its own row.")
    ] = 1,
    eviction: Annotated[str, typer.Option("--eviction", help="Which rows go first: lfu, lru or none.")] = "none",
    max_rows: Annotated[int, typer.Option("--max-rows", help="Cap on rows over all shards; 0: none.")] = 0,
    max_bytes: Annotated[int, typer.Option("--max-bytes", help="Cap on bytes over all shards; 0: none.")] = 0,
    ttl_s: Annotated[float, typer.Option("--ttl-s", help="Seconds without use until a row expires; 0: never.")] = 0.0,
    second_chance_bytes: Annotated[
        int,
        typer.Option(
            "--second-chance-bytes",
            help="Redis memory over all shards for evicted rows that come back with their keys; 0: none.",
        ),
    ] = 0,
    durability: Annotated[
        str | None, typer.Option("--durability", help="When a push is acknowledged.", show_default="the server's")
    ] = None,
    half_life_s: Annotated[float, typer.Option("--half-life-s", help="Half-life of frequencies; 0: no decay.")] = 0.0,
    track_reads: Annotated[bool, typer.Option("--track-reads", help="Let pulls renew the time of last use.")] = False,
    exist_ok: Annotated[bool, typer.Option("--exist-ok", help="Accept an equal table that exists.")] = False,
    target: Target = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Create a table."""
    from rowbank import Admission, Eviction, TableSpec
    from rowbank.cli.spec_text import as_typed, parse_initializer, parse_optimizer

    for option, cap in (("--max-rows", max_rows), ("--max-bytes", max_bytes)):
        if cap and eviction == "none":
            raise typer.BadParameter(f"{option} {cap} needs --eviction lfu or --eviction lru, to say which rows go")
    with as_typed(_OPTIONS):
        spec = TableSpec(
            name=name,
            dim=dim,
            value_dtype=value_dtype,
            initializer=parse_initializer(initializer),
            optimizer=parse_optimizer(optimizer),
            admission=Admission(min_count),
            eviction=Eviction(
                eviction,
                max_rows=max_rows,
                max_bytes=max_bytes,
                ttl_s=ttl_s,
                second_chance_bytes=second_chance_bytes,
            ),
            durability=durability,
            frequency_half_life_s=half_life_s,
            track_reads=track_reads,
        )
    with connect(target) as client:
        client.create_table(spec, exist_ok=exist_ok)
        emit_record(_record(client.table_info(name), client), output)


def drop(
    name: TableName,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    missing_ok: Annotated[bool, typer.Option("--missing-ok", help="Accept that there is no such table.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Also if a model version or a running job holds it.")] = False,
    target: Target = None,
) -> None:
    """Drop a table with all its rows, in memory and in Redis."""
    if not yes:
        if not sys.stdin.isatty():
            raise typer.BadParameter("nobody can be asked here; confirm with --yes", param_hint="--yes")
        typer.confirm(f"drop table {name} with all its rows?", abort=True)
    with connect(target) as client:
        dropped = client.drop_table(name, missing_ok=missing_ok, force=force)
    typer.echo(f"dropped {name}" if dropped else f"there was no table {name}")


def _record(info: TableInfo, client: Client) -> dict[str, Any]:
    from rowbank.cli.spec_text import text_of

    spec = info.spec
    return {
        "name": spec.name,
        "dim": spec.dim,
        "value_dtype": spec.value_dtype,
        "initializer": text_of(spec.initializer),
        "optimizer": text_of(spec.optimizer),
        "min_count": spec.admission.min_count,
        "eviction": spec.eviction.policy,
        **{field: getattr(spec.eviction, field) for field in _EVICTION_FIELDS},
        "durability": spec.durability,
        "frequency_half_life_s": spec.frequency_half_life_s,
        "track_reads": spec.track_reads,
        "table_id": info.table_id,
        "created_at_s": info.created_at_s,
        "bucket_count": info.bucket_count,
        "rows": info.rows,
        "bytes": info.bytes,
        "step": info.step,
        "frozen": info.frozen,
        MISSING: list(client.missing),
    }
