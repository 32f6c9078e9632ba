"""`rowbank features list|show|get|import|freshness|drop`."""

from __future__ import annotations

import dataclasses
import sys
from typing import Annotated, Any

import typer

from rowbank.cli.files import staged_progress
from rowbank.cli.options import Output, OutputFormat, Target, connect
from rowbank.cli.output import emit_record, emit_rows

ViewName = Annotated[str, typer.Argument(metavar="VIEW", help="Name of the view.")]
TextIds = Annotated[bool, typer.Option("--text-ids", help="Ids are texts, known by the keys that training gives them.")]

_VIEWS = {"name": "VIEW", "entity": "ENTITY", "features": "FEATURES", "max_age_s": "MAX AGE S"}
_FIELDS = {"feature": "FEATURE", "type": "TYPE", "default": "DEFAULT"}
_SHOWN_CHARACTERS = 60  # Of a value in a table; JSON has all.


def list_views(target: Target = None, output: Output = OutputFormat.TABLE) -> None:
    """List the views with their entities, features and maximum ages."""
    with connect(target) as client:
        records = [
            {
                "name": view.name,
                "entity": view.entity,
                "features": [field.name for field in view.fields],
                "max_age_s": view.max_age_s,
            }
            for view in client.features.list_views()
        ]
    emit_rows(records, _VIEWS, output, empty="no views; rowbank features import --create ENTITY makes one of a file")


def show(name: ViewName, target: Target = None, output: Output = OutputFormat.TABLE) -> None:
    """Show the features of a view with their types and defaults."""
    with connect(target) as client:
        view = client.features.view(name)
    records = [{"feature": field.name, "type": field.type, "default": _plain(field.default)} for field in view.fields]
    if output is OutputFormat.TABLE:
        limit = f"{view.max_age_s:g} s" if view.max_age_s else "none"
        typer.echo(f"{view.name}: features of {view.entity}, maximum age {limit}")
    emit_rows(records, _FIELDS, output, empty="no features")


def get(
    name: ViewName,
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of entities; integers may be negative.")],
    text_ids: TextIds = False,
    target: Target = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Show what a read of entities answers: values or defaults, status, and when they were written."""
    keys = [_key(one, text_ids) for one in ids]
    with connect(target) as client:
        reads = client.features.read(name, keys)
    records = []
    for asked, read in zip(ids, reads, strict=True):
        record = {"id": asked if text_ids else read.entity, "status": read.status, "event_time_at_s": read.event_time_s}
        records.append(record | {field: _plain(value) for field, value in read.values.items()})
    if output is OutputFormat.TABLE:
        records = [{field: _short(value) for field, value in record.items()} for record in records]
    headings = {"id": "ID", "status": "STATUS", "event_time_at_s": "WRITTEN"}
    emit_rows(records, headings | {one: one.upper() for one in reads[0].values}, output, empty="no ids")


def import_(
    name: ViewName,
    path: Annotated[str, typer.Argument(metavar="FILE", help="Parquet, CSV, TSV or JSON lines: a path or a URL.")],
    entity_column: Annotated[
        str | None, typer.Option("--entity-column", help="Column with the ids.", show_default="the view's entity")
    ] = None,
    event_time_column: Annotated[
        str | None,
        typer.Option("--event-time-column", help="Column that says when a row was true.", show_default="all: now"),
    ] = None,
    event_time_s: Annotated[
        float | None, typer.Option("--event-time-s", help="Instead: Unix seconds when all rows were true.")
    ] = None,
    columns: Annotated[
        list[str] | None, typer.Option("--column", help="Feature to import; repeat it.", show_default="all columns")
    ] = None,
    text_ids: TextIds = False,
    create: Annotated[
        str | None,
        typer.Option("--create", metavar="ENTITY", help="Create the view with the file's columns if there is none."),
    ] = None,
    types: Annotated[
        list[str] | None, typer.Option("--type", metavar="COLUMN=TYPE", help="With --create; repeat it.")
    ] = None,
    max_age_s: Annotated[
        float, typer.Option("--max-age-s", min=0.0, help="With --create: after that reads give defaults; 0: never.")
    ] = 0.0,
    separator: Annotated[str, typer.Option("--separator", help="Between the elements of a list in CSV.")] = "|",
    file_format: Annotated[
        str, typer.Option("--format", help="parquet, csv, tsv or jsonl.", show_default="as FILE ends")
    ] = "",
    target: Target = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Write the rows of a file as features: the whole file is checked, then written; it may be repeated."""
    if create is None and (types or max_age_s):
        raise typer.BadParameter("--type and --max-age-s are of a view that is created; give --create ENTITY, too")
    if event_time_column is not None and event_time_s is not None:
        raise typer.BadParameter("give one of --event-time-column and --event-time-s")
    from rowbank import feature_files

    with connect(target) as client, staged_progress(path) as progress:
        report = feature_files.import_features(
            client,
            name,
            path,
            entity_column=entity_column,
            event_time_column=event_time_column,
            event_time_s=event_time_s,
            columns=columns or (),
            text_ids=text_ids,
            create=create,
            types=_types(types or []),
            max_age_s=max_age_s,
            separator=separator,
            file_format=file_format,
            progress=progress,
        )
    emit_record(dataclasses.asdict(report) | {"features": list(report.features)}, output)


def freshness(
    name: ViewName,
    sample: Annotated[int, typer.Option("--sample", min=1, help="Entities that are read.")] = 10_000,
    target: Target = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Show how old the features of a view are, by a sample of its entities."""
    with connect(target) as client:
        report = client.features.freshness(name, sample=sample)
    emit_record(dataclasses.asdict(report), output)


def drop(
    name: ViewName,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    missing_ok: Annotated[bool, typer.Option("--missing-ok", help="Accept that there is no such view.")] = False,
    target: Target = None,
) -> None:
    """Drop a view with the features of all its entities."""
    if not yes:
        if not sys.stdin.isatty():
            raise typer.BadParameter("nobody can be asked here; confirm with --yes", param_hint="--yes")
        typer.confirm(f"drop view {name} with the features of all its entities?", abort=True)
    with connect(target) as client:
        if not missing_ok:
            client.features.view(name)
        dropped = client.features.drop_view(name)
    typer.echo(f"dropped {name}" if dropped else f"there was no view {name}")


def _key(text: str, text_ids: bool) -> int:
    if text_ids:
        from rowbank.text import id_fault, token_key

        if fault := id_fault(text):
            raise typer.BadParameter(f"the id {fault}", param_hint="ID...")
        return token_key(text)
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"expected an integer, got {text!r}; for ids that are texts give --text-ids") from None


def _types(given: list[str]) -> dict[str, str]:
    types = {}
    for one in given:
        column, equals, kind = one.rpartition("=")
        if not equals or not column:
            raise typer.BadParameter(
                f"expected COLUMN=TYPE, such as genres=string_list, got {one!r}", param_hint="--type"
            )
        types[column] = kind
    return types


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _short(value: Any) -> Any:
    if isinstance(value, list):
        value = ", ".join(map(str, value)) or "[]"
    return value if not isinstance(value, str) or len(value) <= _SHOWN_CHARACTERS else value[:_SHOWN_CHARACTERS] + "..."
