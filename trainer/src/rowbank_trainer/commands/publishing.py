"""Options that say what becomes of a trained model: the same for every job that publishes."""

from __future__ import annotations

from typing import Annotated

import typer

PublishOption = Annotated[bool, typer.Option("--publish/--no-publish", help="Store the model in the registry.")]
ActivateOption = Annotated[bool, typer.Option("--activate/--no-activate", help="Store it, and serve it from then on.")]
RowsOption = Annotated[
    str, typer.Option(help="Rows of a stored version: frozen, copies of its own; or live, the tables that train on.")
]
FrozenDtypeOption = Annotated[str, typer.Option(help="Of frozen rows: float32 or float16.")]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Serve it even if it differs strongly from the model that is served.")
]
DataNameOption = Annotated[
    str | None,
    typer.Option(help="What the data are called when models are compared (default: the data set's or files' names)."),
]
