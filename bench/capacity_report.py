"""How capacity is told: ratios between Rowbank and its peers, above 1 where Rowbank is faster."""

from __future__ import annotations

import numpy as np

from .candidates import PEERS
from .capacity_cells import SUBJECTS, Cell, Measured, Turn
from .report import Figure

_BARS = {
    **dict.fromkeys([("pull", "TensorFlow"), ("push", "TensorFlow"), ("step", "TensorFlow")], 1.3),
    **dict.fromkeys([(f"{cell}_4", "TensorFlow") for cell in ("pull", "step", "adam")], 1.5),
    ("step_4_write_back", "TensorFlow"): 1.5,
    ("pull", "gRPC echo"): 0.7,
}
_OF_ITSELF = {
    "step_journaled": ("step", 0.75), "adam_journaled": ("adam", 0.75), "step_4_journaled": ("step_4", 0.75),
    "step_4_write_back": ("step_4", 1.0),
}  # fmt: skip


def figures(cells: list[Cell], measured: Measured, wire: dict[Turn, float], rows: int) -> list[Figure]:
    """One figure for each cell, release and reference that were measured; `rows` are those of one call."""
    found = []
    by_name = {cell.name: cell for cell in cells}
    for cell in cells:
        for release in SUBJECTS:
            subject = cell.subject(release)
            references = [(peer, cell.reference(peer), _BARS.get((cell.name, peer))) for peer in PEERS]
            references.append(("TensorFlow, scheduled", cell.scheduled(), None))
            other, bar = _OF_ITSELF.get(cell.name, ("", 0.0))
            if other in by_name:
                references.append((f"relaxed {by_name[other].what}", by_name[other].subject(release), bar))
            if release != "before":
                references.append(("before", cell.subject("before"), None))
            for name, reference, at_least in references:
                if subject in measured and reference in measured:
                    ratio, detail = _compared(measured, subject, reference, rows)
                    if subject in wire:
                        detail["subject_wire_bytes"], detail["reference_wire_bytes"] = wire[subject], wire[reference]
                    wanted = at_least if release != "before" else None
                    found.append(Figure(f"capacity {cell.name}", release, name, ratio, wanted, detail))
    return found


def as_grid(cells: list[Cell], measured: Measured, rows: int) -> str:
    """The table: a line for each cell and release, a column for each peer; medians with the range over the rounds."""
    columns = [*PEERS, "before"]
    lines = [["Rowbank / peer", "", *columns]]
    for cell in cells:
        for release in SUBJECTS:
            if (subject := cell.subject(release)) not in measured:
                continue
            line = [cell.label, release]
            for name in columns:
                reference = cell.subject(name) if name == "before" else cell.reference(name)
                line.append(_shown(measured, subject, reference, rows) if subject != reference else "")
            lines.append(line)
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    )


def _shown(measured: Measured, subject: Turn, reference: Turn, rows: int) -> str:
    if reference not in measured:
        return "-"
    ratio, detail = _compared(measured, subject, reference, rows)
    return f"{ratio:.2f} ({detail['lowest']:.2f}-{detail['highest']:.2f})"


def _compared(measured: Measured, subject: Turn, reference: Turn, rows: int) -> tuple[float, dict[str, float]]:
    """Ratio of the medians of all rounds, and the lowest and highest of a round."""
    speeds = [
        [rows / float(np.median(seconds)) if turn.clients == 1 else seconds[0] * rows for seconds in measured[turn]]
        for turn in (subject, reference)
    ]
    of_rounds = np.divide(*map(np.array, speeds))
    ours, theirs = (float(np.median(each)) for each in speeds)
    detail = {
        "lowest": float(of_rounds.min()),
        "highest": float(of_rounds.max()),
        "subject_rows_per_s": ours,
        "reference_rows_per_s": theirs,
    }
    if subject.clients == 1:
        detail |= {"subject_ms": rows / ours * 1e3, "reference_ms": rows / theirs * 1e3}
    return ours / theirs, detail
