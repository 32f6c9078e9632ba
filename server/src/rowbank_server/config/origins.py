"""Which settings a process would have, and where each comes from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rowbank_server.settings.common import PROCESSES, CommonSettings, file_values, load, variable
from rowbank_server.settings.errors import SettingsError
from rowbank_server.settings.file import CONFIG_VARIABLE, DEFAULT_CONFIG
from rowbank_server.storage.connection import without_password

_URLS = ("redis",)  # Settings that may hold a password.


@dataclass(frozen=True, slots=True)
class Effective:
    """A setting as a process would have it.

    Attributes:
        value: as it is written in a file; secrets are masked.
        origin: "argument", "variable", "file" or "default".
        place: the option, the variable or the path of the file; empty: nowhere.
    """

    name: str
    value: Any
    origin: str
    place: str


def effective(cls: type[CommonSettings], arguments: Mapping[str, Any]) -> list[Effective]:
    """All settings of a process that is started with `arguments` here and now. Raises SettingsError."""
    settings, from_file = load(cls, arguments), file_values(cls)
    variables = {name.upper() for name in os.environ}
    found = []
    for name in cls.model_fields:
        if arguments.get(name) is not None:
            origin, place = "argument", f"--{name.replace('_', '-')}"
        elif variable(cls, name) in variables:
            origin, place = "variable", variable(cls, name)
        elif name in from_file:
            origin, place = "file", os.environ.get(CONFIG_VARIABLE) or DEFAULT_CONFIG
        else:
            origin, place = "default", ""
        found.append(Effective(name, _plain(name, getattr(settings, name)), origin, place))
    return found


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, Path):
        return str(value)
    return without_password(value) if name in _URLS and value else value


def problems_of_file(path: str) -> list[str]:
    """What is wrong with a settings file, one sentence for each process that could not start with it."""
    try:
        Path(path).read_bytes()
    except OSError as error:
        return [f"{path}: cannot be read: {error.strerror or error}"]
    kept = dict(os.environ)
    for name in kept:
        if name.upper().startswith("ROWBANK_"):
            del os.environ[name]
    os.environ[CONFIG_VARIABLE] = path
    problems = []
    try:
        for cls in PROCESSES:
            try:
                load(cls, {})
            except SettingsError as error:  # noqa: PERF203 - three processes.
                problems.append(str(error))
    finally:
        os.environ.clear()
        os.environ.update(kept)
    return list(dict.fromkeys(problems))
