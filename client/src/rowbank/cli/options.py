"""Options that several commands share, each with one name and one meaning."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
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


def checked_targets(alternatives: bool) -> Callable[[typer.Context, typer.CallbackParam, str | None], str | None]:
    """What refuses addresses that are none as wrong usage, before a command begins.

    Args:
        alternatives: whether an address may be several with | between them.
    """

    def checked(context: typer.Context, param: typer.CallbackParam, value: str | None) -> str | None:
        from rowbank.addresses import AddressError, parse_targets

        if not value or context.resilient_parsing:
            return value
        try:
            parse_targets(value, alternatives=alternatives)
        except AddressError as error:
            source = context.get_parameter_source(param.name or "")
            of_variable = source is not None and source.name == "ENVIRONMENT"
            where = f"variable {param.envvar}" if of_variable else max(param.opts, key=len)
            raise typer.BadParameter(str(error), param_hint=where) from None
        return value

    return checked


Target = Annotated[
    str | None,
    typer.Option(
        "--target",
        "-t",
        envvar="ROWBANK_TARGETS",
        callback=checked_targets(alternatives=True),
        help="Parameter server as HOST:PORT; several separated by commas, processes of one shard by |.",
        show_default="127.0.0.1:7700",
    ),
]
Output = Annotated[OutputFormat, typer.Option("--output", "-o", help="How the answer is printed.")]
By = Annotated[Score, typer.Option("--by", help="What rows are ranked by.")]
TableName = Annotated[str, typer.Argument(metavar="TABLE", help="Name of the table.")]


MISSING = "missing_shards"  # The field of JSON and CSV that says which shards an answer is without.
_CONNECT_S = 2.0  # A server that takes longer just to say who it is counts as away.


def connect(target: str | None, *, partial: bool = False) -> Client:
    """Returns a client of `target`, to be used in a `with` block. A server that is not there is an error at once.

    Args:
        partial: whether only all servers together being away is an error; `missing_notes` says which are.
    """
    from rowbank import Client
    from rowbank.errors import ShardUnavailable

    try:
        if partial:
            return Client(target, wait_for_ready=False, connect_timeout_s=_CONNECT_S, partial=True)
        return Client(target, wait_for_ready=False)
    except ShardUnavailable as error:
        hint = "is a parameter server running there? `rowbank up` starts one, --target says where it is"
        raise ShardUnavailable(f"{error.message}; {hint}", metadata=error.metadata) from None


def missing_notes(client: Client) -> list[str]:
    """One note per shard that the client's last answer is without."""
    return [f"shard {shard} ({target}) does not answer" for shard, target in client.missing.items()]


def report_degraded(notes: Sequence[str]) -> None:
    """Says on stderr what an answer lacks, and ends the command with status 3; does nothing without notes."""
    if notes:
        typer.echo(f"degraded: {'; '.join(notes)}", err=True)
        raise typer.Exit(3)
