"""Figures by segment on the terminal, in one short table; `metrics.json` has all of them."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from rowbank_trainer.segments import USER_SEGMENTS, SegmentFigures, Segments

CUTOFF = 20


def segment_table() -> Table:
    """The table without lines."""
    table = Table(title=f"recall@{CUTOFF} by a user's interactions in training, and of rare items; best {CUTOFF}")
    table.add_column("tables", no_wrap=True)
    for column in (*USER_SEGMENTS, "rare items", "coverage", "novelty"):
        table.add_column(column, justify="right")
    return table


def print_segments(console: Console, by_label: Mapping[str, Segments | None]) -> None:
    """One line per model: recall of users by what is known of them, of rare items, and what is recommended."""
    table = segment_table()
    for label, segments in by_label.items():
        if segments is not None:
            table.add_row(label, *_cells(segments))
    console.print(table)


def _cells(segments: Segments) -> list[str]:
    parts = [*(segments.users[name] for name in USER_SEGMENTS), segments.rare_items]
    return [
        *(_recall(figures) for figures in parts),
        f"{segments.coverage[CUTOFF]:.4f}",
        f"{segments.novelty[CUTOFF]:.2f}",
    ]


def _recall(figures: SegmentFigures) -> str:
    return f"{figures.recall[CUTOFF]:.4f}" if figures.users else "-"
