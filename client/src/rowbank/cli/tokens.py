"""`rowbank tokens create|list|revoke|generate`."""

from __future__ import annotations

import enum
import re
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rowbank.cli.options import Output, OutputFormat, Target, connect
from rowbank.cli.output import emit_record, emit_rows

if TYPE_CHECKING:
    from rowbank.tokens import TokenInfo


class Role(str, enum.Enum):
    """What a token may do; each may do what those before it may."""

    READ = "read"
    TRAIN = "train"
    ADMIN = "admin"


_COLUMNS = {
    "name": "NAME",
    "id": "ID",
    "role": "ROLE",
    "state": "STATE",
    "tables": "TABLES",
    "models": "MODELS",
    "expires_at_s": "EXPIRES",
    "last_used_at_s": "LAST USED",
    "created_at_s": "CREATED",
}
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it.")],
    role: Annotated[Role, typer.Option("--role", help="What it may do.")],
    table: Annotated[
        list[str] | None,
        typer.Option("--table", help="Pattern of tables that it is for, such as 'user*'; may be repeated; none: all."),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", help="Pattern of models that it is for; may be repeated; none: all."),
    ] = None,
    expires_in: Annotated[
        str | None, typer.Option("--expires-in", help="How long it is valid: 90s, 15m, 12h, 30d, 8w.")
    ] = None,
    target: Target = None,
) -> None:
    """Make a token and print it, once, on standard output; the rest goes to standard error."""
    seconds = _seconds(expires_in)
    with connect(target) as client:
        made = client.tokens.create(name, role.value, tables=table or (), models=model or (), expires_in_s=seconds)
    sys.stdout.write(f"{made.token}\n")
    sys.stdout.flush()
    info = made.info
    of = f"tables {', '.join(info.tables) or 'all'}; models {', '.join(info.models) or 'all'}"
    typer.echo(f"made token {info.name} ({info.id}), role {info.role}; {of}; it is not shown again", err=True)


def list_tokens(target: Target = None, output: Output = OutputFormat.TABLE) -> None:
    """List tokens, also those that ended within the last 30 days."""
    with connect(target) as client:
        tokens = client.tokens.list()
    emit_rows([_record(info) for info in tokens], _COLUMNS, output, empty="no tokens")


def revoke(
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="Its name or its id.")],
    target: Target = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """End a token: within about a second nobody lets its bearer in."""
    with connect(target) as client:
        info = client.tokens.revoke(token)
    emit_record(_record(info), output)


def generate() -> None:
    """Print a new token that no server knows, for the file that the setting admin_token_file names."""
    from rowbank.token_text import new_token

    sys.stdout.write(f"{new_token().text}\n")


def _record(info: TokenInfo) -> dict[str, Any]:
    import time

    ended = "revoked" if info.revoked_at_s else "expired" if 0 < info.expires_at_s <= time.time() else "valid"
    return {
        "name": info.name,
        "id": info.id,
        "role": info.role,
        "state": ended,
        "tables": list(info.tables),
        "models": list(info.models),
        "created_at_s": info.created_at_s,
        "expires_at_s": info.expires_at_s,
        "revoked_at_s": info.revoked_at_s,
        "last_used_at_s": info.last_used_at_s,
        "created_by": info.created_by,
    }


def _seconds(text: str | None) -> int:
    """Raises typer.BadParameter."""
    if text is None:
        return 0
    found = re.fullmatch(r"([1-9][0-9]{0,8})([smhdw])", text)
    if found is None:
        raise typer.BadParameter(f"--expires-in: expected a number and s, m, h, d or w, such as 30d, got {text!r}")
    return int(found[1]) * _UNITS[found[2]]
