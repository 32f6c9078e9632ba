"""Progress on the terminal: a moving bar where there is one, else a few plain lines."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

_LINES_PER_RUN = 6


class Progress:
    """Shows how training runs advance, one after another."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: Bar | None = None
        self._label = ""
        self._epochs = 0

    @contextlib.contextmanager
    def run(self, label: str, *, epochs: int, steps: int) -> Iterator[None]:
        """One training run of `epochs` times `steps` steps."""
        self._label, self._epochs = label, epochs
        if not self._console.is_terminal:
            self._console.print(f"{label}: {epochs} epochs of {steps} steps", highlight=False)
            yield
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                   TimeRemainingColumn(), TextColumn("{task.fields[note]}"))  # fmt: skip
        with Bar(*columns, console=self._console) as bar:
            bar.add_task(label, total=epochs * steps, note="")
            self._bar = bar
            try:
                yield
            finally:
                self._bar = None

    def advance(self) -> None:
        """One step is done."""
        if self._bar is not None:
            self._bar.advance(self._bar.task_ids[0])

    def epoch(self, epoch: int, loss: float, hit_rates: Mapping[int, float]) -> None:
        """An epoch, counted from 1, is done."""
        rates = ", ".join(f"top-{k} {rate:.3f}" for k, rate in hit_rates.items())
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], note=f"loss {loss:.3f}, {rates}")
            return
        every = max(1, self._epochs // _LINES_PER_RUN)
        if epoch % every == 0 or epoch == self._epochs:
            self._console.print(
                f"{self._label}: epoch {epoch}/{self._epochs}, loss {loss:.3f}, {rates}", highlight=False
            )
