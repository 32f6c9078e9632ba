"""Settings of the three processes: parameter server (`ps`), retrieval service (`api`) and the whole (`up`).

A value comes from, first to last: the command line, an environment variable, `rowbank.toml` (or the file that
`ROWBANK_CONFIG` names), the default below. What all processes share stands at the top of the file and in
`ROWBANK_<NAME>`; what belongs to one process stands in its table (`[ps]`, `[api]`, `[up]`) and in
`ROWBANK_<PROCESS>_<NAME>`. Settings are frozen and check themselves once; units are in the names.
"""

from __future__ import annotations

from rowbank_server.settings.api import ApiSettings
from rowbank_server.settings.common import (
    OTHER_VARIABLES,
    CommonSettings,
    RedisSettings,
    is_loopback,
    load,
    unknown_variables,
    variable,
    variables_without_effect,
)
from rowbank_server.settings.errors import SettingsError, StartError
from rowbank_server.settings.ps import PsSettings
from rowbank_server.settings.renamed import new_name, refuse_old_variables
from rowbank_server.settings.up import UpSettings

__all__ = [
    "OTHER_VARIABLES",
    "ApiSettings",
    "CommonSettings",
    "PsSettings",
    "RedisSettings",
    "SettingsError",
    "StartError",
    "UpSettings",
    "is_loopback",
    "load",
    "new_name",
    "refuse_old_variables",
    "unknown_variables",
    "variable",
    "variables_without_effect",
]
