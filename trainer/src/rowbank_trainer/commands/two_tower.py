"""`rowbank-train two-tower`."""

from __future__ import annotations

import dataclasses
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

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
    refuse_split,
)
from rowbank_trainer.commands.publishing import (
    ActivateOption,
    DataNameOption,
    ForceOption,
    FrozenDtypeOption,
    PublishOption,
    RowsOption,
)
from rowbank_trainer.commands.settings import config_of, explicit_settings, fitted_to, fitted_trials, tried_settings
from rowbank_trainer.commands.shared import LogDirOption, TargetsOption, console, plain, quiet_import
from rowbank_trainer.commands.trying import TryOption, command, refuse_alone, trials
from rowbank_trainer.errors import UsageError
from rowbank_trainer.two_tower.config import TwoTowerConfig, Variant, parse_seeds
from rowbank_trainer.two_tower.parallel import WorkerPart, spawn_workers, without_option
from rowbank_trainer.two_tower.publication import Publication

_DEFAULTS = TwoTowerConfig()


def two_tower(
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
    split: Annotated[
        str, typer.Option(help="What is held out: random:0.2, time:0.2 or leave-last:1.")
    ] = _DEFAULTS.split,
    tables: Annotated[
        str, typer.Option(help="Comma list of static, tfra-local, rowbank-tfra, rowbank: trained side by side.")
    ] = "rowbank",
    targets: TargetsOption = None,
    epochs: Annotated[int, typer.Option(help="Passes over the training interactions.")] = _DEFAULTS.epochs,
    batch_size: Annotated[int, typer.Option(help="Interactions a step.")] = _DEFAULTS.batch_size,
    dim: Annotated[int, typer.Option(help="Width of an embedding row.")] = _DEFAULTS.dim,
    hidden: Annotated[
        str, typer.Option(help="Widths of the towers' inner layers, such as 128 or 128,64, or none.")
    ] = "128",
    activation: Annotated[
        str, typer.Option(help="Of inner layers: gelu, relu, tanh, sigmoid or linear.")
    ] = _DEFAULTS.activation,
    vector_dim: Annotated[
        int | None, typer.Option(help="Width of a vector (default: --dim, or without a last layer the last width).")
    ] = None,
    output_layer: Annotated[
        bool, typer.Option("--output-layer/--no-output-layer", help="Whether a linear layer comes last in a tower.")
    ] = _DEFAULTS.output_layer,
    history: Annotated[
        int, typer.Option(help="Last training items of a user that the user tower takes, too (needs items by id).")
    ] = _DEFAULTS.history,
    history_weight: Annotated[
        float, typer.Option(help="Of the mean of those items, against the user's own row.")
    ] = _DEFAULTS.history_weight,
    related: Annotated[
        int, typer.Option(help="Items most met by the same users that the item tower takes, too (needs items by id).")
    ] = _DEFAULTS.related,
    related_weight: Annotated[
        float, typer.Option(help="Of the mean of those items, against the item's own row.")
    ] = _DEFAULTS.related_weight,
    popularity_weight: Annotated[
        float, typer.Option(help="Of the logarithm of an item's training interactions, added to similarities.")
    ] = _DEFAULTS.popularity_weight,
    popularity_half_life_days: Annotated[
        float, typer.Option(help="For it an interaction counts half of one so much newer; 0: all alike.")
    ] = _DEFAULTS.popularity_half_life_days,
    initial_range: Annotated[float, typer.Option(help="New rows are uniform within it of 0.")] = (
        _DEFAULTS.initial_range
    ),
    learning_rate: Annotated[float, typer.Option(help="Of Adam.")] = _DEFAULTS.learning_rate,
    learning_rate_schedule: Annotated[
        str, typer.Option(help="constant, cosine (down to 0.05 of the rate) or cosine:FLOOR, epoch by epoch.")
    ] = _DEFAULTS.schedule,
    loss: Annotated[
        str, typer.Option(help="softmax (over the batch), sampled:N, mixed:N, bpr, ccl:N or directau.")
    ] = _DEFAULTS.loss,
    temperature: Annotated[float, typer.Option(help="Divides similarities in the loss.")] = _DEFAULTS.temperature,
    similarity: Annotated[str, typer.Option(help="cosine, or dot.")] = _DEFAULTS.similarity,
    logq: Annotated[
        str, typer.Option(help="Probabilities that correct for popularity: counts (of the data), table, or none.")
    ] = _DEFAULTS.logq,
    logq_positive: Annotated[
        str, typer.Option(help="corrected: the right item's logit, too; uncorrected: only those of wrong ones.")
    ] = _DEFAULTS.logq_positive,
    negative_power: Annotated[
        float, typer.Option(help="Drawn items: 0 evenly, 1 as often as they are met, between in between.")
    ] = _DEFAULTS.negative_power,
    hard_negatives: Annotated[
        int, typer.Option(help="Wrong items of a softmax that count: so many with the highest logits; 0: all.")
    ] = _DEFAULTS.hard_negatives,
    logq_refresh: Annotated[int, typer.Option(help="Steps between readings of the table, for --logq table.")] = (
        _DEFAULTS.logq_refresh
    ),
    remove_accidental_hits: Annotated[
        bool,
        typer.Option(
            "--remove-accidental-hits/--keep-accidental-hits", help="Copies of the right item do not count as wrong."
        ),
    ] = _DEFAULTS.remove_accidental_hits,
    row_dropout: Annotated[float, typer.Option(help="Part of a row left out in training.")] = _DEFAULTS.row_dropout,
    seed: Annotated[int, typer.Option(help="Of split, initial values, order and dropout.")] = _DEFAULTS.seed,
    seeds: Annotated[
        str | None, typer.Option(help="Several, such as 1,2,3: train once from each; mean and spread are reported.")
    ] = None,
    attempts: TryOption = None,
    early_stopping: Annotated[
        int,
        typer.Option(
            help="End after so many epochs without a better recall@20 on a validation part, and go back to the best."
        ),
    ] = _DEFAULTS.early_stopping,
    evaluate_on: Annotated[
        str, typer.Option(help="test, or validation: a part of the training interactions, to choose settings on.")
    ] = _DEFAULTS.evaluate_on,
    restrict: Annotated[
        bool, typer.Option("--restrict/--no-restrict", help="Train the growing tables once more, restricted.")
    ] = False,
    restrict_keep: Annotated[
        float, typer.Option(help="Part of the keys in training that a restriction keeps.")
    ] = _DEFAULTS.restrict_keep,
    restrict_trigger: Annotated[
        float, typer.Option(help="Part of the keys in training above which it happens.")
    ] = _DEFAULTS.restrict_trigger,
    restrict_every: Annotated[int, typer.Option(help="Steps between restrictions.")] = _DEFAULTS.restrict_every,
    log_every: Annotated[int, typer.Option(help="Steps between readings of table sizes.")] = _DEFAULTS.log_every,
    log_dir: LogDirOption = None,
    publish: PublishOption = False,
    activate: ActivateOption = False,
    rows: RowsOption = "frozen",
    frozen_dtype: FrozenDtypeOption = "float32",
    keep: Annotated[
        int, typer.Option("--keep", "--keep-versions", help="Versions that stay when another is stored.")
    ] = 5,
    force: ForceOption = False,
    data_name: DataNameOption = None,
    model_name: Annotated[str, typer.Option(help="In the registry; tables' names begin with it.")] = "two_tower",
    run: Annotated[
        str | None, typer.Option(help="Names the run's tables, <model-name>/<run>.*  (default: the next free number).")
    ] = None,
    continue_from: Annotated[
        str | None,
        typer.Option("--continue", help="Train on from a version's tables and towers: active, latest or a version."),
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes that train at once on this machine.")] = 1,
    worker: Annotated[
        str | None, typer.Option(help="I/N: this is worker I, from 0, of N on any machines; needs --group.")
    ] = None,
    group: Annotated[str | None, typer.Option(help="Names the run for its workers; another for every run.")] = None,
    max_staleness_steps: Annotated[
        int, typer.Option(help="Steps that a worker may be ahead of the slowest; 0: in lockstep.")
    ] = 4,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on after the last epoch that an earlier run finished.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Folder for metrics, plots, towers and checkpoints.")] = Path(
        "out/two-tower"
    ),
) -> None:
    """Train a two-tower retrieval model: user ids against item titles or ids."""
    given = {name: plain(value) for name, value in context.params.items()}
    config = config_of(context.params)
    variants = Variant.parse_list(tables)
    part = None if worker is None else WorkerPart.parse(worker, group, max_staleness_steps)
    if restrict and not any(variant.dynamic for variant in variants):
        raise UsageError(f"--restrict: static tables cannot shrink; got only --tables {tables}")
    publication = Publication(publish, activate, rows, frozen_dtype, keep, force, data_name)
    refuse_split(context, train)
    many = _several(
        seeds, publication,
        {"--workers": workers != 1, "--worker": worker is not None, "--run": run is not None,
         "--continue": continue_from is not None},
    )  # fmt: skip
    refuse_alone(
        attempts or (),
        {"--publish": publication.publish, "--activate": activate, "--workers": workers != 1,
         "--worker": worker is not None, "--run": run is not None, "--continue": continue_from is not None},
    )  # fmt: skip
    grid = trials(context, attempts) if attempts else []
    shown = console()
    if workers != 1:
        if workers < 1 or worker is not None:
            raise UsageError(f"--workers: expected at least 1, and not with --worker, got {workers}")
        raise typer.Exit(_train_together(workers, targets, model_name, run, out, shown))
    read_at_s = time.time()
    declared = read_schema(schema, dim)
    dataset = open_data(
        shown, data=data, download=download, interactions=interactions, train=train, test=test, items=items,
        columns={"user": user_column, "item": item_column, "time": time_column, "weight": weight_column,
                 "title": title_column},
        reading=reading_of(delimiter, id_type, time_unit, missing_values, skip_bad_rows),
        users=users, schema=declared, schema_file=schema,
    )  # fmt: skip
    if declared is None:
        explicit = explicit_settings(context)
        config = fitted_to(dataset, config, explicit | tried_settings(grid), shown, workers=part is not None)
        grid = fitted_trials(dataset, grid, explicit)
    with quiet_import():
        from rowbank_trainer.two_tower.job import Job
        from rowbank_trainer.two_tower.job import run as train_model
        from rowbank_trainer.two_tower.seeds import run_seeds
        from rowbank_trainer.two_tower.trials import run_trials
    job = Job(
        config, variants, restrict, targets, publication, out, model_name, given, read_at_s, resume, part, run,
        continue_from, log_dir, declared,
    )  # fmt: skip
    if grid:
        job = dataclasses.replace(job, config=dataclasses.replace(config, evaluate_on="validation"))
        run_trials(job, grid, many or (seed,), dataset, shown, lambda options: command(context, options, out / "best"))
    elif many is None:
        train_model(job, dataset, shown)
    else:
        run_seeds(job, many, dataset, shown)


def _several(seeds: str | None, publication: Publication, alone: dict[str, bool]) -> tuple[int, ...] | None:
    """The seeds, if several were asked for, checked against options that are for one model."""
    if seeds is None:
        return None
    many = parse_seeds(seeds)
    clash = [name for name, given in {"--publish": publication.wanted, **alone}.items() if given]
    if clash:
        raise UsageError(f"--seeds trains several models to compare them; leave out {' and '.join(clash)}, or --seeds")
    return many


def _train_together(
    workers: int, targets: str | None, model_name: str, run: str | None, out: Path, shown: Console
) -> int:
    """Starts the workers of one run; the lead's exit status."""
    from rowbank import Client
    from rowbank_trainer.two_tower.runs import check_run_name, next_free

    if run is None:
        with Client(targets) as client:
            run = next_free(client, model_name)
    arguments = without_option(without_option(sys.argv[1:], "--workers"), "--run")
    return spawn_workers(arguments, workers, check_run_name(run), out, shown)
