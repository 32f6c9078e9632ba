"""`rowbank-train rating`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from rowbank_trainer.commands.comparison import (
    BatchSizeOption,
    DataOption,
    DownloadOption,
    EpochsOption,
    InitialRangeOption,
    LearningRateOption,
    ModelNameOption,
    OutOption,
    RatingColumnOption,
    ResumeOption,
    SeedsOption,
    TablesOption,
    open_ratings,
)
from rowbank_trainer.commands.files import (
    InteractionsOption,
    ItemColumnOption,
    ItemsOption,
    SchemaOption,
    UserColumnOption,
    UsersOption,
    read_schema,
)
from rowbank_trainer.commands.shared import TargetsOption, console, notifier, plain, quiet_import
from rowbank_trainer.comparison.trials import TableKind, parse_list, parse_seeds
from rowbank_trainer.errors import UsageError
from rowbank_trainer.rating.config import Model, RatingConfig
from rowbank_trainer.rating.declared import with_schema

if TYPE_CHECKING:
    from rowbank_trainer.schema import Schema

_DEFAULTS = RatingConfig()
_Number = TypeVar("_Number", int, float)


def rating(
    context: typer.Context,
    data: DataOption = None,
    download: DownloadOption = "ml-100k",
    schema: SchemaOption = None,
    interactions: InteractionsOption = None,
    user_column: UserColumnOption = None,
    item_column: ItemColumnOption = None,
    rating_column: RatingColumnOption = None,
    users: UsersOption = None,
    items: ItemsOption = None,
    tables: TablesOption = "rowbank",
    models: Annotated[
        str | None,
        typer.Option(
            help="Comma list of baseline, compact, and with --schema also schema.", show_default="all that there are"
        ),
    ] = None,
    seeds: SeedsOption = "1,2,3",
    targets: TargetsOption = None,
    epochs: EpochsOption = _DEFAULTS.epochs,
    batch_size: BatchSizeOption = _DEFAULTS.batch_size,
    dim: Annotated[int, typer.Option(help="Width of user and item vectors.")] = _DEFAULTS.dim,
    learning_rate: LearningRateOption = _DEFAULTS.learning_rate,
    initial_range: InitialRangeOption = _DEFAULTS.initial_range,
    users_per_bucket: Annotated[
        int, typer.Option(help="Users divided by it are the remainders of the quotient-remainder table.")
    ] = _DEFAULTS.users_per_bucket,
    block_shares: Annotated[
        str, typer.Option(help="Share of the items in each block, the most rated first; the last has the rest.")
    ] = ",".join(map(str, _DEFAULTS.block_shares)),
    block_dims: Annotated[str, typer.Option(help="Width of the rows of each block.")] = ",".join(
        map(str, _DEFAULTS.block_dims)
    ),
    model_name: ModelNameOption = "rating",
    out: OutOption = Path("out/rating"),
    resume: ResumeOption = False,
) -> None:
    """Compare full tables with quotient-remainder users and mixed-dimension items on star ratings."""
    given = {name: plain(value) for name, value in context.params.items()}
    config = RatingConfig(
        epochs=epochs, batch_size=batch_size, dim=dim, learning_rate=learning_rate, initial_range=initial_range,
        users_per_bucket=users_per_bucket, block_shares=_numbers("--block-shares", block_shares, float),
        block_dims=_numbers("--block-dims", block_dims, int),
    )  # fmt: skip
    kinds = parse_list("--tables", tables, TableKind)
    declared = read_schema(schema, dim)
    compared = parse_list("--models", models or _every_model(declared), Model)
    chosen = parse_seeds(seeds)
    shown = console()
    if declared is not None:
        config, unused = with_schema(config, declared, compared, kinds)
        if unused:
            notifier(shown)(f"This job is about the ids of users and items; it leaves out {', '.join(unused)}.")
    elif Model.SCHEMA in compared:
        raise UsageError("--models schema: name a schema with --schema")
    dataset = open_ratings(
        shown, data=data, download=download, interactions=interactions, users=users, items=items,
        user_column=user_column, item_column=item_column, rating_column=rating_column, schema=declared,
        schema_file=schema,
    )  # fmt: skip
    with quiet_import():
        from rowbank_trainer.rating.job import Job, run
    run(Job(config, kinds, compared, chosen, targets, model_name, out, resume, given), dataset, shown)


def _every_model(schema: Schema | None) -> str:
    return ",".join(model.value for model in Model if schema is not None or model is not Model.SCHEMA)


def _numbers(option: str, text: str, kind: Callable[[str], _Number]) -> tuple[_Number, ...]:
    """A comma list of numbers; an empty text is none."""
    try:
        return tuple(kind(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise UsageError(f"{option}: expected numbers with commas, got {text!r}") from None
