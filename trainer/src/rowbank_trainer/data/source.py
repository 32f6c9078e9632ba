"""Chooses where the interactions come from: the caller's folder, else a download, else a synthetic set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rowbank_trainer.data.dataset import Dataset
from rowbank_trainer.data.download import Archive, fetch
from rowbank_trainer.data.movielens import load_movielens
from rowbank_trainer.data.offered import silent
from rowbank_trainer.data.synthetic import synthetic_dataset
from rowbank_trainer.errors import DataError
from rowbank_trainer.schema import Schema

DOWNLOAD_TIMEOUT_S = 8.0
Notify = Callable[[str], None]


def open_dataset(
    folder: Path | None, *, archive: Archive | None, cache: Path, notify: Notify, schema: Schema | None = None,
    say: Notify = silent,
) -> Dataset:  # fmt: skip
    """Opens a dataset.

    Args:
        folder: a MovieLens folder; if given, nothing else is tried.
        archive: what to download if there is no folder; None: do not touch the network.
        cache: where downloads are kept.
        notify: told, in a sentence, when something else than `folder` is used.
        schema: of which the columns are read, too.
        say: told, in sentences, which columns have values.
    Raises:
        DataError: the folder is missing or malformed, or has no column of the schema. A failed download is no error:
            the synthetic set takes its place.
    """
    if folder is not None:
        return load_movielens(folder, schema, say)
    if archive is None:
        notify("No data folder was given: using the SYNTHETIC data set. Its figures say nothing about real data.")
        return synthetic_dataset(schema=schema, notify=say)
    try:
        fetched = fetch(archive, cache, timeout_s=DOWNLOAD_TIMEOUT_S)
    except DataError as error:
        notify(f"{error}.")
        notify(
            "Using the SYNTHETIC data set instead. Its figures say nothing about real data; "
            "give a MovieLens folder with --data to train on real interactions."
        )
        return synthetic_dataset(schema=schema, notify=say)
    notify(f"Using {fetched}, downloaded from {archive.url}.")
    return load_movielens(fetched, schema, say)
