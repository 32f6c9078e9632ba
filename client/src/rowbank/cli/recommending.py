"""`rowbank recommend`, `similar`, `score`, `popular` and `embed`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from rowbank.cli.options import Output, OutputFormat, report_degraded
from rowbank.cli.output import emit_rows
from rowbank.cli.retrieving import (
    BoostOption,
    Exclude,
    Explain,
    FilterOption,
    K,
    ModelOption,
    Retrieval,
    Timeout,
    VersionOption,
    connect,
    emit_answer,
    read_boosts,
    read_filter,
    require_ids,
    shown_vector,
)

Users = Annotated[str, typer.Argument(metavar="USER", help="Id of the user; may be negative.")]
Items = Annotated[list[str], typer.Argument(metavar="ITEM...", help="Ids of items; may be negative.")]


def recommend(
    context: typer.Context,
    user: Users,
    k: K = 10,
    filter_: FilterOption = None,
    exclude_seen: Annotated[bool, typer.Option("--exclude-seen", help="Leave out what the user has seen.")] = False,
    exclude: Exclude = None,
    boost: BoostOption = None,
    explain: Explain = False,
    model: ModelOption = "",
    version: VersionOption = "",
    timeout_s: Timeout = 10.0,
    retrieval: Retrieval = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Recommend items to a user."""
    require_ids(context, user)
    with connect(retrieval, timeout_s) as client:
        answer = client.recommend(
            user,
            k=k,
            filter=read_filter(filter_),
            exclude_seen=exclude_seen,
            exclude=exclude or (),
            boosts=read_boosts(boost),
            explain=explain,
            model=model,
            version=version,
        )
    emit_answer(answer, output, empty="no item is left for this user")


def similar(
    context: typer.Context,
    items: Items,
    k: K = 10,
    filter_: FilterOption = None,
    exclude: Exclude = None,
    explain: Explain = False,
    model: ModelOption = "",
    version: VersionOption = "",
    timeout_s: Timeout = 10.0,
    retrieval: Retrieval = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """List items near one item, or near the mean of several."""
    require_ids(context, *items)
    with connect(retrieval, timeout_s) as client:
        answer = client.similar(
            items,
            k=k,
            filter=read_filter(filter_),
            exclude=exclude or (),
            explain=explain,
            model=model,
            version=version,
        )
    emit_answer(answer, output, empty="no item is near")


def score(
    context: typer.Context,
    user: Users,
    items: Items,
    boost: BoostOption = None,
    explain: Explain = False,
    model: ModelOption = "",
    version: VersionOption = "",
    timeout_s: Timeout = 10.0,
    retrieval: Retrieval = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Rank given items for a user; those that cannot be scored are named on stderr, and the exit code is 3."""
    require_ids(context, user, *items)
    with connect(retrieval, timeout_s) as client:
        answer = client.score(
            items, user_id=user, boosts=read_boosts(boost), explain=explain, model=model, version=version
        )
    if answer.unscored:
        typer.echo("; ".join(f"not scored: {one.id} ({one.reason})" for one in answer.unscored), err=True)
    emit_answer(answer, output, empty="none of these items can be scored")
    report_degraded([f"{len(answer.unscored)} of the items are not scored"] if answer.unscored else [])


def popular(
    k: K = 10,
    filter_: FilterOption = None,
    window_s: Annotated[
        float, typer.Option("--window-s", min=0.0, help="Count events of so many seconds back; 0: all of histories.")
    ] = 0.0,
    kind: Annotated[
        list[str] | None, typer.Option("--kind", help="Kind of events that counts; repeat it.", show_default="all")
    ] = None,
    exclude: Exclude = None,
    explain: Explain = False,
    model: ModelOption = "",
    version: VersionOption = "",
    timeout_s: Timeout = 10.0,
    retrieval: Retrieval = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """List the most popular items; the score counts interactions."""
    with connect(retrieval, timeout_s) as client:
        answer = client.popular(
            k=k,
            filter=read_filter(filter_),
            window_s=window_s,
            kinds=kind or (),
            exclude=exclude or (),
            explain=explain,
            model=model,
            version=version,
        )
    emit_answer(answer, output, empty="nothing is popular yet")


def embed(
    users: Annotated[list[str] | None, typer.Option("--user", help="Id of a user; repeat it.")] = None,
    items: Annotated[list[str] | None, typer.Option("--item", help="Id of an item; repeat it.")] = None,
    model: ModelOption = "",
    version: VersionOption = "",
    timeout_s: Timeout = 10.0,
    retrieval: Retrieval = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Print the towers' vectors of users or of items."""
    if bool(users) == bool(items):
        raise typer.BadParameter("give --user or --item, each as often as needed, and not both", param_hint="")
    with connect(retrieval, timeout_s) as client:
        answer = client.embed(user_ids=users or (), item_ids=items or (), model=model, version=version)
    records: list[dict[str, Any]] = []
    for identity, vector, found, reason in zip(answer.ids, answer.vectors, answer.found, answer.reasons, strict=True):
        values = vector.tolist() if found else None
        shown = values if output is OutputFormat.JSON else values and shown_vector(values, output)
        records.append({"id": str(identity), "vector": shown, "reason": reason})
    emit_rows(records, {"id": "ID", "vector": "VECTOR", "reason": "WHY NONE"}, output, empty="no vectors")
    missing = [f"{one['id']} has no vector ({one['reason']})" for one in records if one["vector"] is None]
    report_degraded(missing)
