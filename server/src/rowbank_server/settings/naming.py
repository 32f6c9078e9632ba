"""How settings and their environment variables are called."""

from __future__ import annotations

from pydantic import AliasChoices


def shared_name(name: str) -> AliasChoices:
    """Both names of a setting that all processes share: the field's, and the variable's without a process in it."""
    return AliasChoices(name, f"ROWBANK_{name.upper()}")
