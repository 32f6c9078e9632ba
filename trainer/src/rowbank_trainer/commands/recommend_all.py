"""`rowbank-train recommend-all`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rowbank_trainer.commands.shared import TargetsOption, console


def recommend_all(
    model: Annotated[str, typer.Argument(help="Name of a published model.", metavar="MODEL")],
    out: Annotated[Path, typer.Option(help="The Parquet file to write.")],
    k: Annotated[int, typer.Option(help="Items per user.")] = 100,
    version: Annotated[str, typer.Option(help="active, latest or a version.")] = "active",
    users: Annotated[
        Path | None, typer.Option(help="Only the users in this file: its column user_id, or its only one.")
    ] = None,
    exclude_seen: Annotated[
        bool, typer.Option("--exclude-seen/--include-seen", help="Leave out what a user's history names.")
    ] = True,
    targets: TargetsOption = None,
) -> None:
    """Write the best items of every user of a published version to a Parquet file."""
    from rowbank import Client
    from rowbank_trainer.recommending.job import RecommendAll
    from rowbank_trainer.recommending.job import recommend_all as recommend

    job = RecommendAll(model, version, out, k, exclude_seen, users)
    with Client(targets) as client:
        recommend(job, client, console())
