"""`rowbank export` and `rowbank import`."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import time
from collections.abc import Callable, Iterator
from typing import Annotated

import typer

from rowbank.cli.options import Output, OutputFormat, TableName, Target, connect
from rowbank.cli.output import emit_record


def export(
    name: TableName,
    path: Annotated[str, typer.Argument(metavar="PATH", help="Parquet file to write: a local path or a URL.")],
    target: Target = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Write a table to a Parquet file, with optimizer state and metadata."""
    from rowbank import parquet

    with connect(target) as client, progress_bar("exporting") as progress:
        report = parquet.export_table(client.table(name), path, progress=progress)
    emit_record({"table": report.table, "path": report.path, "rows": report.rows, "bytes": report.bytes}, output)


def import_(
    name: TableName,
    path: Annotated[str | None, typer.Argument(metavar="[PATH]", help="Parquet file: a local path or a URL.")] = None,
    tfra_files: Annotated[
        str | None, typer.Option("--tfra-files", help="Instead: TFRA's -keys and -values files, folder or prefix.")
    ] = None,
    tfra_redis: Annotated[
        str | None, typer.Option("--tfra-redis", help="Instead: URL of the Redis that a TFRA RedisTable is in.")
    ] = None,
    model_tag: Annotated[str | None, typer.Option("--model-tag", help="With --tfra-redis: the model_tag.")] = None,
    embedding: Annotated[
        str | None, typer.Option("--name", help="With --tfra-redis: the variable's name.", show_default="TABLE")
    ] = None,
    value_dtype: Annotated[
        str, typer.Option("--value-dtype", help="What TFRA stored: float32, float16 or float64.")
    ] = "float32",
    target: Target = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Store the rows of a Parquet file, or of a TFRA table, in a table."""
    if sum(source is not None for source in (path, tfra_files, tfra_redis)) != 1:
        raise typer.BadParameter("give one of PATH, --tfra-files and --tfra-redis")
    if (tfra_redis is None) != (model_tag is None):
        raise typer.BadParameter("--tfra-redis and --model-tag go together")
    from rowbank import parquet, tfra_data

    with connect(target) as client, progress_bar("importing") as progress:
        if path is not None:
            report = parquet.import_table(client, path, name, progress=progress)
        elif tfra_files is not None:
            table = client.table(name)
            report = tfra_data.import_files(table, tfra_files, value_dtype=value_dtype, progress=progress)
        else:
            assert tfra_redis is not None
            assert model_tag is not None
            report = tfra_data.import_redis(
                client.table(name),
                tfra_redis,
                model_tag=model_tag,
                name=embedding or name,
                value_dtype=value_dtype,
                progress=progress,
            )
    record = dataclasses.asdict(report)
    emit_record({field: record[field] for field in ("table", "path", "rows", "created")}, output)


_LINE_EVERY_S = 5.0  # Of progress where nobody sees a bar.


@contextlib.contextmanager
def staged_progress(name: str) -> Iterator[Callable[[str, int, int], None]]:
    """Progress through stages on stderr: a bar if that is a terminal, else a line every few seconds."""
    with progress_bar(f"opening {name}") as bar:
        last = time.monotonic()

        def report(stage: str, done: int, total: int) -> None:
            nonlocal last
            if bar is not None:
                bar(done, total, f"{stage} {name}")
            elif time.monotonic() - last >= _LINE_EVERY_S:
                last = time.monotonic()
                of = f" of {total:,}" if total else ""
                typer.echo(f"{stage} {name}: {done:,}{of} rows", err=True)

        yield report


@contextlib.contextmanager
def progress_bar(what: str) -> Iterator[Callable[..., None] | None]:
    """A bar on stderr if that is a terminal, else None."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total, now=what: bar.update(task, completed=done, total=total or None, description=now)
