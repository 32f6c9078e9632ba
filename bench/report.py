"""What a run says: figures, each a ratio against a reference of the same run, as a table and as JSON."""

from __future__ import annotations

import dataclasses
import json
import sys

from .timing import Timing


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """What a workload may vary; the defaults are the ones figures are quoted at."""

    rows: int = 1_000_000
    dim: int = 64
    batch: int = 4096
    keys: str = "uniform"  # Or "zipf".
    rounds: int = 10
    calls_per_round: int = 20
    seed: int = 7
    vectors: str = ""  # A file with the arrays `items` and `queries`.
    threads: int = 1  # That build indexes.


def notice(text: str) -> None:
    """Tells what is left out, and why."""
    print(f"notice: {text}", file=sys.stderr, flush=True)


@dataclasses.dataclass(frozen=True, slots=True)
class Figure:
    """One ratio. Above 1, the subject is better."""

    workload: str
    subject: str
    reference: str
    ratio: float
    at_least: float | None
    detail: dict[str, float]

    @property
    def verdict(self) -> str:
        if self.at_least is None:
            return "-"
        return "reached" if self.ratio >= self.at_least else "MISSED"


def speedup(workload: str, subject: Timing, reference: Timing, *, at_least: float | None, rows: int) -> Figure:
    """How many times faster the subject's median call is; `rows` are the rows of one call."""
    return Figure(
        workload,
        subject.name,
        reference.name,
        reference.median_ms / subject.median_ms,
        at_least,
        {
            "subject_ms": subject.median_ms,
            "reference_ms": reference.median_ms,
            "subject_p99_ms": subject.p99_ms,
            "subject_rows_per_s": rows / subject.median_ms * 1e3,
            "reference_rows_per_s": rows / reference.median_ms * 1e3,
        },
    )


def as_table(figures: list[Figure]) -> str:
    """Aligned lines, one a figure."""
    lines = [("workload", "subject", "reference", "ratio", "at least", "verdict", "detail")]
    for figure in figures:
        detail = "  ".join(f"{name}={value:,.4g}" for name, value in figure.detail.items())
        bar = "-" if figure.at_least is None else f"{figure.at_least:g}x"
        lines.append(
            (figure.workload, figure.subject, figure.reference, f"{figure.ratio:.2f}x", bar, figure.verdict, detail)
        )
    widths = [max(len(line[column]) for line in lines) for column in range(6)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[6]]) for line in lines
    )


def as_json(machine: dict[str, object], settings: Settings, figures: list[Figure]) -> str:
    """The run as one JSON document."""
    rows = [dataclasses.asdict(figure) | {"verdict": figure.verdict} for figure in figures]
    return json.dumps({"machine": machine, "settings": dataclasses.asdict(settings), "figures": rows}, indent=2)
