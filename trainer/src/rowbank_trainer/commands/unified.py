"""`rowbank-train unified`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

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
from rowbank_trainer.unified.config import Model, UnifiedConfig

if TYPE_CHECKING:
    from rowbank_trainer.data import Dataset
    from rowbank_trainer.schema import Schema
    from rowbank_trainer.unified.features import Features

_DEFAULTS = UnifiedConfig()


def unified(
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
        str, typer.Option(help="Comma list of collisionless, hash, hash-with-age, unified.")
    ] = "collisionless,hash,unified",
    seeds: SeedsOption = "1,2,3,4,5",
    targets: TargetsOption = None,
    epochs: EpochsOption = _DEFAULTS.epochs,
    batch_size: BatchSizeOption = _DEFAULTS.batch_size,
    dim: Annotated[int, typer.Option(help="Width of a feature's vector, an even number.")] = _DEFAULTS.dim,
    learning_rate: LearningRateOption = _DEFAULTS.learning_rate,
    initial_range: InitialRangeOption = _DEFAULTS.initial_range,
    model_name: ModelNameOption = "unified",
    out: OutOption = Path("out/unified"),
    resume: ResumeOption = False,
) -> None:
    """Compare collisionless, hashed and unified embedding tables on telling high ratings from low ones."""
    given = {name: plain(value) for name, value in context.params.items()}
    config = UnifiedConfig(
        epochs=epochs, batch_size=batch_size, dim=dim, learning_rate=learning_rate, initial_range=initial_range
    )
    kinds = parse_list("--tables", tables, TableKind)
    compared = parse_list("--models", models, Model)
    chosen = parse_seeds(seeds)
    declared = read_schema(schema)
    if declared is None and interactions is not None:
        raise UsageError("--interactions: a schema says which columns the models are to go by; name one with --schema")
    if declared is not None and Model.HASH_WITH_AGE in compared:
        raise UsageError(
            "--models hash-with-age is for MovieLens's own columns; with --schema name numbers in it, and leave it out"
        )
    shown = console()
    dataset = open_ratings(
        shown, data=data, download=download, interactions=interactions, users=users, items=items,
        user_column=user_column, item_column=item_column, rating_column=rating_column, schema=declared,
        schema_file=schema,
    )  # fmt: skip
    features = _features(dataset, declared, data, download, shown)
    if declared is not None:
        config = dataclasses.replace(config, features=features.names, hash_buckets=features.hash_buckets())
    with quiet_import():
        from rowbank_trainer.unified.job import Job, run
    run(Job(config, kinds, compared, chosen, targets, model_name, out, resume, given), dataset, features, shown)


def _features(dataset: Dataset, schema: Schema | None, data: Path | None, download: str, shown: Console) -> Features:
    """What the ratings are told by. Raises TrainerError."""
    from rowbank_trainer.unified.features import movielens_features, schema_features

    if schema is not None:
        features, unused = schema_features(dataset, schema)
        if unused:
            notifier(shown)(f"This job takes ids, numbers and single categories; it leaves out {', '.join(unused)}.")
        return features
    from rowbank_trainer.data.download import default_cache
    from rowbank_trainer.unified.users import load_users, synthetic_users

    made_up = dataset.name == "synthetic"
    known = (
        synthetic_users(dataset.interactions.user_ids) if made_up else load_users(data or default_cache() / download)
    )
    return movielens_features(known, dataset)
