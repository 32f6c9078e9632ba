"""What subcommands share: where the server is, opening data, the console, and the first import of TensorFlow."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from rowbank_trainer.errors import UsageError

if TYPE_CHECKING:
    from rowbank_trainer.data import Dataset
    from rowbank_trainer.schema import Schema

TargetsOption = Annotated[
    str | None,
    typer.Option(
        help="Parameter server, HOST:PORT,... with | between processes of one shard "
        "(default: ROWBANK_TARGETS, else 127.0.0.1:7700)"
    ),
]
LogDirOption = Annotated[
    Path | None, typer.Option(help="Folder for log.jsonl, a line per epoch, and for TensorBoard's event files.")
]
_PLAIN_WIDTH = 120  # Of output that goes to a file or a pipe.


def console() -> Console:
    """Where progress and reports go."""
    return Console(width=None if sys.stdout.isatty() else _PLAIN_WIDTH)


def notifier(shown: Console) -> Any:
    """Says in a sentence what was done differently than asked."""

    def notify(text: str) -> None:
        shown.print(f"NOTICE: {text}", style="bold yellow", highlight=False)

    return notify


def sayer(shown: Console) -> Callable[[str], None]:
    """Says in a sentence what was understood."""

    def say(text: str) -> None:
        shown.print(text, highlight=False, markup=False)

    return say


def open_movielens(folder: Path | None, download: str, shown: Console, schema: Schema | None = None) -> Dataset:
    """The MovieLens folder, else a download, else the synthetic set, with the columns of a schema.

    Raises:
        TrainerError: the folder is missing or malformed, or the download unknown.
    """
    from rowbank_trainer.data.download import ML_1M, ML_100K, default_cache
    from rowbank_trainer.data.source import open_dataset

    archives = {ML_100K.name: ML_100K, ML_1M.name: ML_1M, "none": None}
    if download not in archives:
        raise UsageError(f"--download: expected one of {', '.join(archives)}, got {download!r}")
    return open_dataset(
        folder, archive=archives[download], cache=default_cache(), notify=notifier(shown), schema=schema,
        say=sayer(shown),
    )  # fmt: skip


@contextlib.contextmanager
def quiet_import() -> Iterator[None]:
    """For the first import of TensorFlow and TFRA: chooses Keras 2, which TFRA needs, and silences start-up chatter."""
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def plain(value: Any) -> Any:
    """An option's value as the report writes it."""
    return str(value) if isinstance(value, Path) else value
