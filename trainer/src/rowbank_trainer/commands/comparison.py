"""Options of the jobs that compare models on ratings, trial by trial."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from rowbank_trainer.commands.files import open_data
from rowbank_trainer.data.options import Reading
from rowbank_trainer.errors import DataError, UsageError

if TYPE_CHECKING:
    from rowbank_trainer.data import Dataset
    from rowbank_trainer.schema import Schema

DataOption = Annotated[
    Path | None,
    typer.Option(help="MovieLens folder, 100k or 1M layout. Without it: a download, else synthetic data."),
]
DownloadOption = Annotated[
    str, typer.Option(help="What to download without --data: ml-100k, ml-1m, or none for synthetic data.")
]
RatingColumnOption = Annotated[
    str | None, typer.Option(help="Column of --interactions with ratings, stars from 1 to 5.")
]
TablesOption = Annotated[str, typer.Option(help="Comma list of static, rowbank: compared side by side.")]
SeedsOption = Annotated[str, typer.Option(help="Comma list; each model is trained once with each.")]
EpochsOption = Annotated[int, typer.Option(help="Passes over the training ratings.")]
BatchSizeOption = Annotated[int, typer.Option(help="Ratings a step.")]
LearningRateOption = Annotated[float, typer.Option(help="Of Adam.")]
InitialRangeOption = Annotated[float, typer.Option(help="Initial rows are uniform between its negative and itself.")]
ModelNameOption = Annotated[str, typer.Option(help="Tables' names on the server begin with it.")]
OutOption = Annotated[Path, typer.Option(help="Folder for state, metrics and plot.")]
ResumeOption = Annotated[
    bool, typer.Option("--resume/--no-resume", help="Keep the trials that an earlier run into --out finished.")
]


def open_ratings(
    shown: Console,
    *,
    data: Path | None,
    download: str,
    interactions: Path | None,
    users: Path | None,
    items: Path | None,
    user_column: str | None,
    item_column: str | None,
    rating_column: str | None,
    schema: Schema | None,
    schema_file: Path | None,
) -> Dataset:
    """The ratings that the options name.

    Raises:
        TrainerError: options contradict each other, or data is missing, malformed or no ratings.
    """
    if (interactions is None) != (rating_column is None):
        raise UsageError(
            "--interactions and --rating-column go together: this job is about ratings, stars from 1 to 5; got only "
            f"{'--rating-column' if interactions is None else '--interactions'}"
        )
    dataset = open_data(
        shown, data=data, download=download, interactions=interactions, train=None, test=None, items=items,
        columns={"user": user_column, "item": item_column, "weight": rating_column},
        reading=Reading(), users=users, schema=schema, schema_file=schema_file,
    )  # fmt: skip
    ratings = dataset.interactions.ratings
    if not (ratings.min() >= 1.0 and ratings.max() <= 5.0):
        raise DataError(
            f"{interactions}: column {rating_column!r}: expected stars from 1 to 5, got {ratings.min():g} to "
            f"{ratings.max():g}; scale them"
        )
    return dataset
