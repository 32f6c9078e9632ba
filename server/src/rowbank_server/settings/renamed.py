"""Settings that are called otherwise now. Their old names are refused with the new one, wherever they stand."""

from __future__ import annotations

import os
from collections.abc import Mapping

from rowbank_server.settings.errors import SettingsError

# Process -> old name -> new name, and what has changed beside it.
_RENAMED: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "ps": {"metrics_bind": ("http_bind", "it serves /metrics as before, and /healthz, /readyz and /ui")},
}
# Whose variables a process's own children read.
_READ_BY = {"up": ("ps",)}


def new_name(process: str, name: str) -> str | None:
    """What is said of an old name: "is called http_bind now; ..."; None: it is none."""
    found = _RENAMED.get(process, {}).get(name.replace("-", "_"))
    return None if found is None else f"is called {found[0]} now; {found[1]}"


def refuse_old_variables(process: str) -> None:
    """Looks at the environment's variables that `process` would read. Raises SettingsError."""
    for owner in (process, *_READ_BY.get(process, ())):
        for old, (new, what) in _RENAMED.get(owner, {}).items():
            prefix = f"ROWBANK_{owner.upper()}_"
            if f"{prefix}{old.upper()}" in os.environ:
                raise SettingsError(
                    f"variable {prefix}{old.upper()} is called {prefix}{new.upper()} now; {what}; rename it"
                )
