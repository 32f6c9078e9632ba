"""Options that say which interactions to train on: the same for every job that takes a user's own files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from rowbank_trainer.commands.shared import open_movielens, sayer
from rowbank_trainer.data.options import MISSING_WORDS, Reading
from rowbank_trainer.errors import SchemaError, UsageError

if TYPE_CHECKING:
    from rowbank_trainer.data import Dataset
    from rowbank_trainer.schema import Schema

DataOption = Annotated[
    Path | None, typer.Option(help="MovieLens folder, 100k or 1M layout. Without any data: a download, else synthetic.")
]
DownloadOption = Annotated[
    str, typer.Option(help="What to download without data: ml-100k, ml-1m, or none for synthetic data.")
]
InteractionsOption = Annotated[
    Path | None, typer.Option(help="Your interactions instead: a Parquet, CSV or JSON-lines file.")
]
TrainOption = Annotated[Path | None, typer.Option(help="With --test: interactions that come split already.")]
TestOption = Annotated[Path | None, typer.Option(help="With --train: what the model is judged on.")]
ItemsOption = Annotated[Path | None, typer.Option(help="The catalogue: a file with items and titles.")]
UsersOption = Annotated[Path | None, typer.Option(help="A file with users and columns that --schema names.")]
SchemaOption = Annotated[
    Path | None, typer.Option(help="TOML file that says which columns of users and items the model takes, and how.")
]
UserColumnOption = Annotated[str | None, typer.Option(help="Column of user ids, integers or strings.")]
ItemColumnOption = Annotated[str | None, typer.Option(help="Column of item ids, integers or strings.")]
TimeColumnOption = Annotated[str | None, typer.Option(help="Column of times; not needed for random splits.")]
WeightColumnOption = Annotated[str | None, typer.Option(help="Column of weights in training.")]
TitleColumnOption = Annotated[str | None, typer.Option(help="Column of titles; without one the item tower goes by id.")]
DelimiterOption = Annotated[
    str | None, typer.Option(help="Between columns of text files, such as ';' or tab.", show_default="recognised")
]
IdTypeOption = Annotated[
    str, typer.Option(help="int, text, or auto: integers if all ids are plain ones such as 7, not 007.")
]
TimeUnitOption = Annotated[
    str, typer.Option(help="Of times that are numbers: s, ms, us, ns, date (20240131), or auto: by their size.")
]
MissingValuesOption = Annotated[
    str, typer.Option(help="Comma list of words that mean a missing cell, as blank does, in any case.")
]
SkipBadRowsOption = Annotated[
    bool, typer.Option("--skip-bad-rows", help="Leave out rows that cannot be used, and say which.")
]
MISSING_VALUES = ",".join(MISSING_WORDS)


def open_data(
    shown: Console,
    *,
    data: Path | None,
    download: str,
    interactions: Path | None,
    train: Path | None,
    test: Path | None,
    items: Path | None,
    columns: dict[str, str | None],
    reading: Reading,
    users: Path | None = None,
    schema: Schema | None = None,
    schema_file: Path | None = None,
) -> Dataset:
    """The dataset that the options name.

    Args:
        columns: names by role: user, item, time, weight, title.
        reading: how cells are understood.
        schema: of which the columns are read, too.
        schema_file: where it is from, for messages.
    Raises:
        TrainerError: options contradict each other, or data is missing, malformed or not as the schema says.
    """
    files = {"--interactions": interactions, "--train": train, "--test": test}
    given = [name for name, path in files.items() if path is not None]
    if users is not None and schema is None:
        raise UsageError("--users: a schema says which of its columns are for the model; name one with --schema")
    if not given:
        extra = [f"--{role}-column" for role, name in columns.items() if name is not None]
        extra += [name for name, path in (("--items", items), ("--users", users)) if path is not None]
        extra += reading.given()
        if extra:
            raise UsageError(f"{extra[0]} says how to read your own files; name them with --interactions")
        with _named(schema_file):
            return open_movielens(data, download, shown, schema)
    if data is not None:
        raise UsageError(f"--data and {given[0]} both name data; give one of them")
    from rowbank_trainer.data.columns import ColumnNames
    from rowbank_trainer.data.files import InteractionFiles, load_files

    named = InteractionFiles(interactions, train, test, items, ColumnNames(**columns), reading, users, schema)
    with _named(schema_file):
        return load_files(named, sayer(shown))


def read_schema(path: Path | None, dim: int | None = None) -> Schema | None:
    """The schema in a file; None: no file was named.

    Args:
        dim: of tables of which it does not say one; None: the job takes none of its tables.
    Raises:
        TrainerError: it cannot be read, is none, or does not go with `dim`.
    """
    if path is None:
        return None
    from rowbank_trainer.schema import load_schema

    schema = load_schema(path)
    with _named(path):
        if dim is not None:
            schema.check_dim(dim)
    return schema


@contextlib.contextmanager
def _named(path: Path | None) -> Iterator[None]:
    """Says in which file a schema is that something is wrong with."""
    try:
        yield
    except SchemaError as error:
        raise SchemaError(f"{path}: {error.where}", error.problem) from None


def refuse_split(context: typer.Context, train: Path | None) -> None:
    """Raises TrainerError if a split was asked for of files that come split already."""
    source = context.get_parameter_source("split")
    if train is not None and source is not None and source.name == "COMMANDLINE":
        raise UsageError("--split and --train contradict each other: what --test holds is held out; give one of them")


def reading_of(
    delimiter: str | None, id_type: str, time_unit: str, missing_values: str, skip_bad_rows: bool
) -> Reading:
    """How cells are understood, as the options say. Raises TrainerError."""
    words = tuple(word.strip() for word in missing_values.split(",") if word.strip())
    return Reading(delimiter, id_type, words, skip_bad_rows, time_unit)
