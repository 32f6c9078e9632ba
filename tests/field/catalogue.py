"""All cases: one module per kind, each with a list CASES."""

from __future__ import annotations

import importlib
from pathlib import Path

from tests.field.case import Case

_HERE = Path(__file__).parent


def cases() -> list[tuple[str, Case]]:
    """Every case with its kind, which is its module's name."""
    kinds = sorted(path.stem.removeprefix("cases_") for path in _HERE.glob("cases_*.py"))
    return [(kind, case) for kind in kinds for case in importlib.import_module(f"tests.field.cases_{kind}").CASES]
