"""What the commands share that ask the retrieval service: options, ids, filters, and how an answer is printed."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rowbank.cli.options import OutputFormat, checked_targets, report_degraded
from rowbank.cli.output import emit_rows, write_json
from rowbank.closest import did_you_mean

if TYPE_CHECKING:
    from rowbank import RetrievalClient
    from rowbank.retrieval import Boost, Explanation, Filter, RankedItem

IDS = {"ignore_unknown_options": True}  # Of commands that take ids, which may be negative.

Retrieval = Annotated[
    str | None,
    typer.Option(
        "--retrieval",
        "-r",
        envvar="ROWBANK_RETRIEVAL",
        callback=checked_targets(alternatives=False),
        help="Retrieval service (gRPC) as HOST:PORT; several separated by commas.",
        show_default="127.0.0.1:7781",
    ),
]
ModelOption = Annotated[
    str, typer.Option("--model", help="Which model is asked.", show_default="the service's default one")
]
VersionOption = Annotated[
    str, typer.Option("--version", help="A version that the service has loaded.", show_default="as its users get it")
]
K = Annotated[int, typer.Option("--k", "-k", min=1, max=1000, help="How many items.")]
FilterOption = Annotated[
    str | None,
    typer.Option(
        "--filter", help='Which items may be in the answer: JSON as {"feature": "year", "gte": 1990}, or a stored name.'
    ),
]
BoostOption = Annotated[
    list[str] | None,
    typer.Option("--boost", help='Lifts scores: JSON as {"filter": {...}, "add": 0.5, "name": "fresh"}; repeat it.'),
]
Exclude = Annotated[list[str] | None, typer.Option("--exclude", help="An item to leave out; repeat it.")]
Explain = Annotated[bool, typer.Option("--explain", help="Say how the answer came to be.")]
Timeout = Annotated[float, typer.Option("--timeout-s", min=0.001, help="Seconds to wait for the answer.")]

_SHOWN_VALUES = 6  # Of a vector in a table; JSON and CSV have all.
_ITEMS = {"rank": "RANK", "id": "ID", "score": "SCORE", "title": "TITLE"}


def connect(retrieval: str | None, timeout_s: float = 10.0) -> RetrievalClient:
    """A client of the service, for a `with` block; one that is not there is an error at once."""
    from rowbank import RetrievalClient

    return RetrievalClient(retrieval, timeout_s=timeout_s, wait_for_ready=False)


def require_ids(context: typer.Context, *given: str) -> None:
    """Refuses what looks like an option that does not exist; behind `--`, all are ids.

    Commands whose ids may be negative take words that begin with a dash for ids.
    """
    if "--" in sys.argv:
        return
    for word in given:
        if word.startswith("-") and not word[1:].isdigit():
            known = [name for one in context.command.params for name in one.opts if name.startswith("--")]
            hint = did_you_mean(word, [*known, "--help"]) or f"; {context.command_path} --help says what it takes"
            raise typer.BadParameter(f"{context.command_path} has no option {word}{hint}", param_hint="")


def read_filter(given: str | None, option: str = "--filter") -> Filter | None:
    """A filter of JSON, or the name of a stored one."""
    if given is None:
        return None
    from rowbank.retrieval import Filter, named

    if not given.lstrip().startswith(("{", "[")):
        if not given.strip():
            raise typer.BadParameter("expected JSON or the name of a stored filter, got nothing", param_hint=option)
        return named(given)
    return Filter(read_json(given, option))


def read_json(given: str, option: str) -> dict[str, Any]:
    """A JSON object."""
    import json

    try:
        read = json.loads(given)
    except ValueError as error:
        raise typer.BadParameter(f"expected JSON, got {given[:80]!r}: {error}", param_hint=option) from None
    if not isinstance(read, dict):
        raise typer.BadParameter(f"expected a JSON object, got {given[:80]!r}", param_hint=option)
    return read


def read_boosts(given: Sequence[str] | None) -> list[Boost]:
    """Boosts of JSON."""
    from rowbank.retrieval import Boost

    boosts = []
    for text in given or ():
        read = read_json(text, "--boost")
        unknown = sorted(read.keys() - {"filter", "add", "name"})
        if unknown or not {"filter", "add"} <= read.keys():
            raise typer.BadParameter(f"expected filter, add and perhaps name, got {text[:80]!r}", param_hint="--boost")
        boosts.append(Boost(read["filter"], read["add"], read.get("name", "")))
    return boosts


def plain(value: Any) -> Any:
    """A dataclass of an answer as JSON has it."""
    return dataclasses.asdict(value)


def emit_answer(answer: Any, output: OutputFormat, *, empty: str) -> None:
    """Prints an answer with items: as a table with what it is based on, as JSON all of it, as CSV the items.

    Ends the command with status 3 where it is degraded.
    """
    if output is OutputFormat.JSON:
        write_json({name: value for name, value in plain(answer).items() if value not in (None, "", {})})
    else:
        emit_rows([item_record(item) for item in answer.items], _ITEMS, output, empty)
    if output is OutputFormat.TABLE:
        model = f"{answer.model} {answer.model_version}".strip()
        typer.echo(f"based on: {answer.source}; model {model}; index {answer.index_version}")
        _emit_explanation(answer.explanation, answer.timings_ms)
    report_degraded(answer.degraded)


def item_record(item: RankedItem) -> dict[str, Any]:
    """An item of an answer as a line."""
    return {"rank": item.rank, "id": item.id if isinstance(item.id, str) else str(item.id), "score": item.score,
            "title": item.title}  # fmt: skip


def _emit_explanation(told: Explanation | None, timings_ms: Mapping[str, float]) -> None:
    """Prints how an answer came to be, as tables; nothing where nobody asked for it."""
    sections: list[tuple[str, list[dict[str, Any]]]] = [
        ("features", [plain(one) for one in told.features] if told else []),
        ("candidates", [plain(one) for one in told.candidates] if told else []),
        ("rows", [plain(one) for one in told.rows] if told else []),
        ("timings", [{"stage": stage, "time_ms": time} for stage, time in timings_ms.items()]),
    ]
    for title, records in sections:
        if records:
            typer.echo(f"\n{title}")
            headings = {field: field.replace("_", " ").upper() for field in records[0]}
            emit_rows(records, headings, OutputFormat.TABLE, "")
    if told is not None and told.index:
        typer.echo(f"\nindex: {told.index}" + (f"; version: {told.split}" if told.split else ""))


def shown_vector(values: Sequence[float], output: OutputFormat) -> str:
    """A vector as text: the first numbers in a table, all of them in CSV."""
    if output is OutputFormat.CSV:
        return " ".join(f"{value:.9g}" for value in values)
    first = " ".join(f"{value:.4g}" for value in values[:_SHOWN_VALUES])
    more = len(values) - _SHOWN_VALUES
    return f"{first} ... {more} more" if more > 0 else first
