"""The settings file: what it says to one process, and whether all that it says is known to some process."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from rowbank.closest import closest
from rowbank_server import wording
from rowbank_server.settings.renamed import new_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CONFIG_VARIABLE = "ROWBANK_CONFIG"
DEFAULT_CONFIG = "rowbank.toml"


class SettingsFileError(Exception):
    """The file cannot be used; the text names it and says why."""


def values_for(role: str, processes: Mapping[str, Collection[str]], shared: Sequence[str]) -> dict[str, Any]:
    """What the file says to the process `role`.

    Args:
        processes: role -> the names of its settings.
        shared: names of settings that stand at the top of the file.
    Raises:
        SettingsFileError: also for what it says to others and they do not know.
    """
    named = os.environ.get(CONFIG_VARIABLE)
    path = Path(named or DEFAULT_CONFIG)
    if not named and not path.is_file():
        return {}
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        whose = f" ({CONFIG_VARIABLE} names it)" if named else ""
        raise SettingsFileError(f"{path}: cannot be read{whose}: {error.strerror or error}") from None
    except ValueError as error:
        raise SettingsFileError(f"{path}: cannot be read as TOML: {error}") from None
    for name, value in content.items():
        _check_name(path, name, value, processes, shared)
    # A shared setting may be one that only other processes know, such as `targets`.
    common = {name: value for name, value in content.items() if name not in processes and name in processes[role]}
    return {**common, **content.get(role, {})}


def _check_name(
    path: Path, name: str, value: Any, processes: Mapping[str, Collection[str]], shared: Sequence[str]
) -> None:
    if name in processes:
        if not isinstance(value, dict):
            raise SettingsFileError(f"{path}: {name}: expected a table, [{name}], got {wording.show(value)}")
        for inner in value:
            renamed = new_name(name, inner)
            if renamed is not None:
                raise SettingsFileError(f"{path}: setting {inner} in [{name}] {renamed}; rename it")
            if inner not in processes[name]:
                unknown = wording.unknown_field(inner, list(processes[name]))
                raise SettingsFileError(f"{path}: setting {inner} in [{name}] {unknown}")
    elif name not in shared:
        homes = [f"[{role}]" for role, names in processes.items() if name in names]
        if homes:
            raise SettingsFileError(f"{path}: setting {name} belongs to one process: put it under {' or '.join(homes)}")
        raise SettingsFileError(f"{path}: setting {name} {_misplaced(name, processes, shared)}")


def _misplaced(name: str, processes: Mapping[str, Collection[str]], shared: Sequence[str]) -> str:
    """What is said of an unknown name at the top of the file, where a process's setting may be meant."""
    known = [*dict.fromkeys(shared), *processes]
    if closest(name, known) is None:
        meant = closest(name, list(dict.fromkeys(one for names in processes.values() for one in names)))
        if meant is not None:
            homes = " or ".join(f"[{role}]" for role, names in processes.items() if meant in names)
            return f"is unknown; did you mean {meant} under {homes}? Known at the top: {', '.join(known)}"
    return wording.unknown_field(name, known)
