"""`rowbank-train online`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from rowbank_trainer.commands.files import (
    MISSING_VALUES,
    DataOption,
    DelimiterOption,
    DownloadOption,
    IdTypeOption,
    InteractionsOption,
    ItemColumnOption,
    ItemsOption,
    MissingValuesOption,
    SchemaOption,
    SkipBadRowsOption,
    TestOption,
    TimeColumnOption,
    TimeUnitOption,
    TitleColumnOption,
    TrainOption,
    UserColumnOption,
    UsersOption,
    WeightColumnOption,
    open_data,
    read_schema,
    reading_of,
)
from rowbank_trainer.commands.publishing import (
    ActivateOption,
    DataNameOption,
    ForceOption,
    FrozenDtypeOption,
    PublishOption,
    RowsOption,
)
from rowbank_trainer.commands.shared import LogDirOption, TargetsOption, console, plain, quiet_import
from rowbank_trainer.errors import UsageError
from rowbank_trainer.online.config import OnlineConfig
from rowbank_trainer.two_tower.config import TwoTowerConfig, Variant
from rowbank_trainer.two_tower.publication import Publication

_MODEL = TwoTowerConfig(batch_size=256, popularity_half_life_days=14.0)
_ONLINE = OnlineConfig()


def online(
    context: typer.Context,
    data: DataOption = None,
    download: DownloadOption = "ml-100k",
    interactions: InteractionsOption = None,
    train: TrainOption = None,
    test: TestOption = None,
    items: ItemsOption = None,
    users: UsersOption = None,
    schema: SchemaOption = None,
    user_column: UserColumnOption = None,
    item_column: ItemColumnOption = None,
    time_column: TimeColumnOption = None,
    weight_column: WeightColumnOption = None,
    title_column: TitleColumnOption = None,
    delimiter: DelimiterOption = None,
    id_type: IdTypeOption = "auto",
    time_unit: TimeUnitOption = "auto",
    missing_values: MissingValuesOption = MISSING_VALUES,
    skip_bad_rows: SkipBadRowsOption = False,
    days: Annotated[float, typer.Option(help="Length of a period.")] = _ONLINE.days,
    periods: Annotated[int, typer.Option(help="So many equal periods instead.")] = _ONLINE.periods,
    passes: Annotated[int, typer.Option(help="Passes over each period.")] = _ONLINE.passes,
    replay: Annotated[
        float, typer.Option(help="Earlier interactions that a pass trains on again for each of the period's.")
    ] = _ONLINE.replay,
    tables: Annotated[
        str, typer.Option(help="Comma list of static, tfra-local, rowbank-tfra, rowbank: trained side by side.")
    ] = "rowbank",
    targets: TargetsOption = None,
    restrict: Annotated[
        bool, typer.Option("--restrict/--no-restrict", help="Train the growing tables once more, cut at a trigger.")
    ] = True,
    steps_per_restrict: Annotated[int, typer.Option(help="Steps between looks at sizes.")] = _ONLINE.steps_per_restrict,
    trigger: Annotated[float, typer.Option(help="Part of all keys; a table with more rows is cut.")] = _ONLINE.trigger,
    max_user_rows: Annotated[int, typer.Option(help="Trigger of the user table in rows.")] = _ONLINE.max_user_rows,
    max_item_rows: Annotated[int, typer.Option(help="Trigger of the item table in rows.")] = _ONLINE.max_item_rows,
    keep: Annotated[float, typer.Option(help="Part of the trigger that a cut leaves.")] = _ONLINE.keep,
    batch_size: Annotated[int, typer.Option(help="Interactions a step.")] = _MODEL.batch_size,
    dim: Annotated[int, typer.Option(help="Width of an embedding row and of a vector.")] = _MODEL.dim,
    learning_rate: Annotated[float, typer.Option(help="Of Adam.")] = _MODEL.learning_rate,
    temperature: Annotated[float, typer.Option(help="Divides similarities in the loss.")] = _MODEL.temperature,
    logq: Annotated[str, typer.Option(help="Correction for popularity: counts, table, or none.")] = _MODEL.logq,
    popularity_weight: Annotated[
        float, typer.Option(help="Of the logarithm of an item's interactions so far, added to similarities.")
    ] = _MODEL.popularity_weight,
    popularity_half_life_days: Annotated[
        float, typer.Option(help="For it an interaction counts half of one so much newer; 0: all alike.")
    ] = _MODEL.popularity_half_life_days,
    seed: Annotated[int, typer.Option(help="Of initial values, order and dropout.")] = _MODEL.seed,
    log_every: Annotated[int, typer.Option(help="Steps between readings of table sizes.")] = _MODEL.log_every,
    log_dir: LogDirOption = None,
    publish: PublishOption = False,
    activate: ActivateOption = False,
    rows: RowsOption = "frozen",
    frozen_dtype: FrozenDtypeOption = "float32",
    keep_versions: Annotated[int, typer.Option(help="Versions that stay when another is stored.")] = 5,
    force: ForceOption = False,
    data_name: DataNameOption = None,
    run: Annotated[
        str | None, typer.Option(help="Names the run's tables, <model-name>/<run>.*  (default: the next free number).")
    ] = None,
    model_name: Annotated[str, typer.Option(help="In the registry; tables' names begin with it.")] = "online",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on after the last period that an earlier run finished.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Folder for metrics, plots, towers and checkpoints.")] = Path("out/online"),
) -> None:
    """Train a two-tower model day by day, as data comes in, and judge it by the next day."""
    given = {name: plain(value) for name, value in context.params.items()}
    model = TwoTowerConfig(
        batch_size=batch_size, dim=dim, vector_dim=dim, learning_rate=learning_rate, temperature=temperature,
        logq=logq, popularity_weight=popularity_weight, popularity_half_life_days=popularity_half_life_days,
        seed=seed, log_every=log_every, restrict_every=steps_per_restrict,
    )  # fmt: skip
    settings = OnlineConfig(
        days, periods, passes, replay, steps_per_restrict, trigger, max_user_rows, max_item_rows, keep
    )
    variants = Variant.parse_list(tables)
    publication = Publication(publish, activate, rows, frozen_dtype, keep_versions, force, data_name)
    if publication.wanted and not any(variant.remote for variant in variants):
        raise UsageError("--publish: online training publishes tables that are on the server; add --tables rowbank")
    shown = console()
    read_at_s = time.time()
    declared = read_schema(schema, dim)
    dataset = open_data(
        shown, data=data, download=download, interactions=interactions, train=train, test=test, items=items,
        columns={"user": user_column, "item": item_column, "time": time_column, "weight": weight_column,
                 "title": title_column},
        reading=reading_of(delimiter, id_type, time_unit, missing_values, skip_bad_rows),
        users=users, schema=declared, schema_file=schema,
    )  # fmt: skip
    with quiet_import():
        from rowbank_trainer.online.job import OnlineJob
        from rowbank_trainer.online.job import run as train_online
    job = OnlineJob(
        model, settings, variants, restrict, targets, publication, out, model_name, given, read_at_s, resume, run,
        declared, log_dir,
    )  # fmt: skip
    train_online(job, dataset, shown)
