"""The command line. TensorFlow is imported only when a job starts, so that help and wrong arguments answer at once."""

from __future__ import annotations

import sys

import typer
from rich.console import Console

from rowbank_trainer.commands.online import online
from rowbank_trainer.commands.rating import rating
from rowbank_trainer.commands.recommend_all import recommend_all
from rowbank_trainer.commands.two_tower import two_tower
from rowbank_trainer.commands.unified import unified
from rowbank_trainer.errors import TrainerError, UsageError

app = typer.Typer(
    help="Training jobs with embedding tables in this process or on a Rowbank server.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


app.command("two-tower")(two_tower)
app.command("online")(online)
app.command("rating")(rating)
app.command("unified")(unified)
app.command("recommend-all")(recommend_all)


def main() -> None:
    """Runs the program: exit code 0 if all went well, 1 after an error, 2 for wrong usage."""
    from rowbank.errors import RowbankError
    from rowbank.usage import run

    try:
        run(app, "rowbank-train")
    except (TrainerError, RowbankError) as error:
        Console(stderr=True).print(f"error: {error}", style="red", highlight=False, soft_wrap=True, markup=False)
        sys.exit(2 if isinstance(error, UsageError) else 1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        Console(stderr=True).print(
            f"error: {where}{error.strerror or error}", style="red", highlight=False, soft_wrap=True, markup=False
        )
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
