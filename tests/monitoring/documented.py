"""The metrics that docs/metrics.md promises."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_ROW = re.compile(r"^\| `((?:rowbank|process)_\w+)` \| (\w+) \|([^|]*)\|", re.MULTILINE)


@dataclass(frozen=True)
class Documented:
    name: str
    kind: str
    labels: frozenset[str]


def documented() -> dict[str, Documented]:
    """By name; a metric that both services have stands twice, with the same type."""
    found: dict[str, Documented] = {}
    for name, kind, cell in _ROW.findall((ROOT / "docs" / "metrics.md").read_text()):
        # A label's values may follow it: `reason`: `capacity`, `bytes`; `other`.
        labels = {label for part in re.split(r";", cell) for label in re.findall(r"`(\w+)`", part.partition(":")[0])}
        before = found.get(name)
        assert before is None or before.kind == kind, name
        found[name] = Documented(name, kind, frozenset(labels) | (before.labels if before else frozenset()))
    return found


def samples(metrics: dict[str, Documented]) -> dict[str, frozenset[str]]:
    """Names of time series, with their labels, as Prometheus stores them."""
    found = {}
    for one in metrics.values():
        if one.kind == "histogram":
            found[f"{one.name}_bucket"] = one.labels | {"le"}
            found |= {f"{one.name}_count": one.labels, f"{one.name}_sum": one.labels}
        else:
            found[one.name] = one.labels
    return found
