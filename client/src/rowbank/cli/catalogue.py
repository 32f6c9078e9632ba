"""`rowbank item get|put|delete`, `rowbank filters list|put|delete` and `rowbank index probe`."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from rowbank.cli.options import Output, OutputFormat
from rowbank.cli.output import emit_record, emit_rows
from rowbank.cli.retrieving import (
    FilterOption,
    ModelOption,
    Retrieval,
    Timeout,
    VersionOption,
    connect,
    plain,
    read_filter,
    read_json,
    require_ids,
    shown_vector,
)

Item = Annotated[str, typer.Argument(metavar="ITEM", help="Id of the item; may be negative.")]
FilterName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the filter.")]


def get_item(
    context: typer.Context,
    item: Item,
    vector: Annotated[bool, typer.Option("--vector", help="Its vector, too.")] = False,
    model: ModelOption = "",
    retrieval: Retrieval = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Show an item: its features, and whether a search can find it."""
    require_ids(context, item)
    with connect(retrieval) as client:
        found = client.get_item(item, vector=vector, model=model)
    record: dict[str, Any] = {
        "id": str(found.id),
        "status": found.status,
        "written_at_s": found.event_time_s,
        "indexed": found.indexed,
        "not_indexed": found.not_indexed or None,
        "interactions": found.interactions,
    }
    if output is OutputFormat.JSON:
        record["features"] = {
            name: list(one) if isinstance(one, tuple) else one for name, one in found.features.items()
        }
    else:
        record |= {f"feature {name}": _words(value) for name, value in found.features.items()}
    if vector:
        values = None if found.vector is None else found.vector.tolist()
        record["vector"] = values if output is OutputFormat.JSON else values and shown_vector(values, output)
    emit_record(record, output)


def _words(value: Any) -> Any:
    """A feature as a person reads it: a year is no amount."""
    if isinstance(value, tuple):
        return ", ".join(str(_words(one)) for one in value)
    return f"{value:.15g}" if isinstance(value, int | float) and not isinstance(value, bool) else value


def put_item(
    context: typer.Context,
    item: Item,
    features: Annotated[str, typer.Argument(metavar="FEATURES", help='JSON such as {"title": "A lamp"}.')],
    model: ModelOption = "",
    retrieval: Retrieval = None,
) -> None:
    """Add or change an item; features that are left out keep their values."""
    require_ids(context, item)
    with connect(retrieval) as client:
        report = client.put_items({item: read_json(features, "FEATURES")}, model=model)
    if report.faults:
        typer.echo(f"error: item {item}: {report.faults[0].message}", err=True)
        raise typer.Exit(1)
    typer.echo(f"written: {item}" if report.written else f"not written: a later event had written {item}")


def delete_item(context: typer.Context, item: Item, model: ModelOption = "", retrieval: Retrieval = None) -> None:
    """Remove an item."""
    require_ids(context, item)
    with connect(retrieval) as client:
        client.delete_item(item, model=model)
    typer.echo(f"removed: {item}")


def list_filters(model: ModelOption = "", retrieval: Retrieval = None, output: Output = OutputFormat.TABLE) -> None:
    """List the filters that are stored with a model."""
    with connect(retrieval) as client:
        stored = client.filters(model=model)
    whole = output is OutputFormat.JSON
    records = [
        {"name": one.name, "filter": one.filter.json if whole else json.dumps(one.filter.json)} for one in stored
    ]
    emit_rows(records, {"name": "NAME", "filter": "FILTER"}, output, empty="no filters; rowbank filters put stores one")


def put_filter(
    name: FilterName,
    filter_: Annotated[str, typer.Argument(metavar="FILTER", help='JSON such as {"feature": "year", "gte": 1990}.')],
    model: ModelOption = "",
    retrieval: Retrieval = None,
) -> None:
    """Store a filter under a name, in the place of one that was there."""
    with connect(retrieval) as client:
        client.put_filter(name, read_json(filter_, "FILTER"), model=model)
    typer.echo(f"stored: {name}")


def delete_filter(name: FilterName, model: ModelOption = "", retrieval: Retrieval = None) -> None:
    """Remove a stored filter."""
    with connect(retrieval) as client:
        client.delete_filter(name, model=model)
    typer.echo(f"removed: {name}")


def probe_index(
    queries: Annotated[int, typer.Option("--queries", "-n", min=1, help="Searches that are compared.")] = 100,
    k: Annotated[int, typer.Option("--k", "-k", min=1, help="Items of each.")] = 100,
    filter_: FilterOption = None,
    model: ModelOption = "",
    version: VersionOption = "",
    timeout_s: Timeout = 60.0,
    retrieval: Retrieval = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Compare what the index finds with an exact search: recall and times."""
    with connect(retrieval, timeout_s) as client:
        probe = client.probe_index(queries=queries, k=k, filter=read_filter(filter_), model=model, version=version)
    emit_record(plain(probe), output)
