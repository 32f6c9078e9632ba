"""`--watch`: any command that reads, again and again, in place in a terminal and one below the other elsewhere."""

from __future__ import annotations

import contextlib
import functools
import inspect
import io
import itertools
import sys
import time
from collections.abc import Callable, Iterator
from typing import Annotated, Any, get_type_hints

import typer

from rowbank.cli.options import OutputFormat
from rowbank.cli.output import repeated
from rowbank.cli.screen import terminal
from rowbank.cli.screen.texts import cut

Watch = Annotated[bool, typer.Option("--watch", "-w", help="Again and again, until Ctrl-C.")]
Interval = Annotated[float, typer.Option("--interval", "-i", min=0.05, help="With --watch: seconds between two.")]
Count = Annotated[int, typer.Option("--count", min=0, help="With --watch: end after so many; 0: never.")]

_OPTIONS: dict[str, tuple[Any, Any]] = {"watch": (Watch, False), "interval_s": (Interval, 2.0), "count": (Count, 0)}
_HOME, _CLEAR_LINE, _CLEAR_REST = "\x1b[H", "\x1b[K", "\x1b[J"
_OWN_SCREEN, _OLD_SCREEN = "\x1b[?1049h", "\x1b[?1049l"


def watched(command: Callable[..., None]) -> Callable[..., None]:
    """`command` with the options `--watch`, `--interval` and `--count` beside its own.

    A watched command shows again what it would show then: each time it connects anew, so that it goes on after a
    server's restart. What fails the first time is an error, later it is shown in the place of the answer. Ctrl-C ends
    it with the status of what was shown last.
    """

    @functools.wraps(command)
    def run(*arguments: Any, watch: bool, interval_s: float, count: int, **options: Any) -> None:
        once = functools.partial(command, *arguments, **options)
        if not watch:
            once()
            return
        status = 0
        with contextlib.suppress(KeyboardInterrupt), repeated(), _screen(options.get("output")) as show:
            for done in ticks(interval_s):
                status = show(once, first=done == 1)
                if done == count:
                    break
        if status:
            raise typer.Exit(status)

    signature = inspect.signature(command)
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in _OPTIONS.items()
    ]
    hints = get_type_hints(command, include_extras=True)
    own = [one.replace(annotation=hints.get(one.name, one.annotation)) for one in signature.parameters.values()]
    run.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
    run.__annotations__ = {**hints, **{name: kind for name, (kind, _) in _OPTIONS.items()}}
    del run.__wrapped__  # Typer would read its options alone.
    return run


def ticks(interval_s: float) -> Iterator[int]:
    """1, 2, ... at once and then every `interval_s` seconds, however long what happens between them takes."""
    started = time.monotonic()
    for done in itertools.count(1):
        yield done
        behind_s = time.monotonic() - started
        time.sleep((int(behind_s / interval_s) + 1) * interval_s - behind_s)


@contextlib.contextmanager
def _screen(form: OutputFormat | None) -> Iterator[Callable[..., int]]:
    """Yields what runs a command once, shows its answer, and returns its status."""
    if form not in (None, OutputFormat.TABLE) or not terminal.is_terminal():
        yield _below
        return
    sys.stdout.write(_OWN_SCREEN)
    last: list[str] = []
    try:
        yield functools.partial(_in_place, last)
    finally:
        sys.stdout.write(_OLD_SCREEN + "".join(last))
        sys.stdout.flush()


def _below(once: Callable[[], None], *, first: bool) -> int:
    status, error = _status(once, first=first)
    sys.stdout.flush()
    sys.stderr.write(error)
    return status


def _in_place(last: list[str], once: Callable[[], None], *, first: bool) -> int:
    answer, notes = _Page(), io.StringIO()
    with contextlib.redirect_stdout(answer), contextlib.redirect_stderr(notes):
        status, error = _status(once, first=first)
    text = answer.getvalue() + notes.getvalue() + error
    last[:] = [text]
    shown = [cut(line, terminal.columns(), terminal.ellipsis()) if "\x1b" not in line else line
             for line in text.splitlines()[: terminal.lines() - 1]]  # fmt: skip
    sys.stdout.write(_HOME + "".join(f"{line}{_CLEAR_LINE}\n" for line in shown) + _CLEAR_REST)
    sys.stdout.flush()
    return status


def _status(once: Callable[[], None], *, first: bool) -> tuple[int, str]:
    """The command's status, and what is to be said of its failure. Raises what a first time raises."""
    from rowbank.errors import RowbankError

    try:
        once()
    except typer.Exit as ended:
        return ended.exit_code, ""
    except RowbankError as error:
        if first:
            raise
        return 1, f"error: {error}\n"
    return 0, ""


class _Page(io.StringIO):
    """Text on its way to the terminal, which commands take for the terminal."""

    def __init__(self) -> None:
        super().__init__()
        self._encoding = sys.stdout.encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def isatty(self) -> bool:
        return True
