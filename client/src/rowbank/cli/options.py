"""Options that several commands share, each with one name and one meaning."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rowbank import Client


class OutputFormat(str, enum.Enum):
    """How an answer is printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


class Score(str, enum.Enum):
    """What rows are ranked by; the lowest go first."""

    FREQUENCY = "frequency"
    LAST_USED = "last_used"


Target = Annotated[
    str | None,
    typer.Option(
        "--target",
        "-t",
        envvar="ROWBANK_TARGETS",
        help="Parameter server as HOST:PORT; several separated by commas.",
        show_default="127.0.0.1:7700",
    ),
]
Output = Annotated[OutputFormat, typer.Option("--output", "-o", help="How the answer is printed.")]
By = Annotated[Score, typer.Option("--by", help="What rows are ranked by.")]
TableName = Annotated[str, typer.Argument(metavar="TABLE", help="Name of the table.")]


def connect(target: str | None) -> Client:
    """Returns a client of `target`, to be used in a `with` block. A server that is not there is an error at once."""
    from rowbank import Client
    from rowbank.errors import ShardUnavailable

    try:
        return Client(target, wait_for_ready=False)
    except ShardUnavailable as error:
        hint = "is a parameter server running there? `rowbank up` starts one, --target says where it is"
        raise ShardUnavailable(f"{error.message}; {hint}", metadata=error.metadata) from None
