"""The command line. TensorFlow is imported only when a job starts, so that help and wrong arguments answer at once."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from rowbank_trainer.errors import TrainerError
from rowbank_trainer.two_tower.config import TwoTowerConfig, Variant

_DEFAULTS = TwoTowerConfig()
_PLAIN_WIDTH = 120  # Of output that goes to a file or a pipe.
app = typer.Typer(
    help="Training jobs on MovieLens data, with embedding tables in this process or on a Rowbank server.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _program() -> None:
    """Keeps `two-tower` a subcommand although it is the only one."""


@app.command("two-tower")
def two_tower(
    context: typer.Context,
    data: Annotated[
        Path | None,
        typer.Option(help="MovieLens folder, 100k or 1M layout. Without it: a download, else synthetic data."),
    ] = None,
    download: Annotated[
        str, typer.Option(help="What to download without --data: ml-100k, ml-1m, or none for synthetic data.")
    ] = "ml-100k",
    tables: Annotated[
        str, typer.Option(help="Comma list of static, tfra-local, rowbank-tfra, rowbank: trained side by side.")
    ] = "rowbank",
    targets: Annotated[
        str | None, typer.Option(help="Parameter server, HOST:PORT,... (default: ROWBANK_TARGETS, else 127.0.0.1:7700)")
    ] = None,
    epochs: Annotated[int, typer.Option(help="Passes over the training interactions.")] = _DEFAULTS.epochs,
    batch_size: Annotated[int, typer.Option(help="Interactions a step.")] = _DEFAULTS.batch_size,
    dim: Annotated[int, typer.Option(help="Width of an embedding row and of a vector.")] = _DEFAULTS.dim,
    learning_rate: Annotated[float, typer.Option(help="Of Adam.")] = _DEFAULTS.learning_rate,
    temperature: Annotated[float, typer.Option(help="Divides similarities in the loss.")] = _DEFAULTS.temperature,
    row_dropout: Annotated[float, typer.Option(help="Part of a row left out in training.")] = _DEFAULTS.row_dropout,
    seed: Annotated[int, typer.Option(help="Of split, initial values, order and dropout.")] = _DEFAULTS.seed,
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
    publish: Annotated[
        bool | None,
        typer.Option("--publish/--no-publish", help="Publish the model (default: if a table is on the server)."),
    ] = None,
    model_name: Annotated[str, typer.Option(help="In the registry; tables' names begin with it.")] = "two_tower",
    out: Annotated[Path, typer.Option(help="Folder for metrics, plots and towers.")] = Path("out/two-tower"),
) -> None:
    """Train a two-tower retrieval model: user ids against movie titles."""
    given = {name: _plain(value) for name, value in context.params.items()}
    config = TwoTowerConfig(
        epochs=epochs, batch_size=batch_size, dim=dim, vector_dim=dim, learning_rate=learning_rate,
        temperature=temperature, row_dropout=row_dropout, seed=seed, evaluate_on=evaluate_on, log_every=log_every,
        restrict_keep=restrict_keep, restrict_trigger=restrict_trigger, restrict_every=restrict_every,
    )  # fmt: skip
    variants = Variant.parse_list(tables)
    if restrict and not any(variant.dynamic for variant in variants):
        raise TrainerError(f"--restrict: static tables cannot shrink; got only --tables {tables}")
    wanted = any(variant.remote for variant in variants) if publish is None else publish
    console = Console(width=None if sys.stdout.isatty() else _PLAIN_WIDTH)
    dataset = _open_data(data, download, console)
    with _quiet_import():
        from rowbank_trainer.two_tower.job import Job, run
    run(Job(config, variants, restrict, targets, wanted, out, model_name, given), dataset, console)


def _open_data(folder: Path | None, download: str, console: Console) -> Any:
    from rowbank_trainer.data.download import ML_1M, ML_100K, default_cache
    from rowbank_trainer.data.source import open_dataset

    archives = {ML_100K.name: ML_100K, ML_1M.name: ML_1M, "none": None}
    if download not in archives:
        raise TrainerError(f"--download: expected one of {', '.join(archives)}, got {download!r}")

    def notify(text: str) -> None:
        console.print(f"NOTICE: {text}", style="bold yellow", highlight=False)

    return open_dataset(folder, archive=archives[download], cache=default_cache(), notify=notify)


@contextlib.contextmanager
def _quiet_import() -> Iterator[None]:
    """For the first import of TensorFlow and TFRA: chooses Keras 2, which TFRA needs, and silences start-up chatter."""
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def main() -> None:
    """Runs the program: exit code 0 if all went well, 1 after an error, 2 for wrong usage."""
    from rowbank.errors import RowbankError

    try:
        app()
    except (TrainerError, RowbankError) as error:
        Console(stderr=True).print(f"error: {error}", style="red", highlight=False, soft_wrap=True, markup=False)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
