"""What the settings of all processes share, and how they are found and told."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import AliasChoices, Field, ValidationError, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from rowbank import variables
from rowbank.addresses import is_local, split_address
from rowbank_server import wording
from rowbank_server.settings.errors import SettingsError
from rowbank_server.settings.file import CONFIG_VARIABLE, SettingsFileError, values_for
from rowbank_server.settings.naming import shared_name
from rowbank_server.settings.security import SecuritySettings

# Beside the settings: read by other parts of the product, or set for its tests.
OTHER_VARIABLES = frozenset(
    {
        CONFIG_VARIABLE,
        "ROWBANK_REDIS_SERVER",
        "ROWBANK_NATIVE",
        "ROWBANK_RETRIEVAL",
        "ROWBANK_CHAOS_SEED",
        "ROWBANK_TEST_NEWEST",
        "ROWBANK_TOKEN",
    }
)
_NAMESPACE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
# The settings of each process; the modules beside this one add theirs.
PROCESSES: list[type[CommonSettings]] = []


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach `address`."""
    split_address(address)
    return is_local(address)


class CommonSettings(BaseSettings):
    """What all processes share."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", populate_by_name=True)
    role: ClassVar[str]

    namespace: str = Field(
        "rowbank",
        validation_alias=shared_name("namespace"),
        description="Prefix of every key in Redis; servers with different namespaces share nothing.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", validation_alias=shared_name("log_level"), description="Least severe message that is logged to stderr."
    )
    log_format: Literal["text", "json"] = Field(
        "text", validation_alias=shared_name("log_format"), description="One line of text or one JSON object a message."
    )
    tracing: bool = Field(
        False,
        validation_alias=shared_name("tracing"),
        description="Record spans of requests with OpenTelemetry, which its OTEL_* variables steer; needs the extra "
        "`rowbank-server[tracing]`.",
    )
    insecure: bool = Field(
        False,
        validation_alias=shared_name("insecure"),
        description="Allow binding to addresses that other machines can reach, without TLS or without tokens.",
    )

    @field_validator("namespace")
    @classmethod
    def _check_namespace(cls, value: str) -> str:
        if not _NAMESPACE.fullmatch(value):
            raise ValueError(f"expected 1 to 64 characters of A-Z a-z 0-9 _ . -, got {value!r}")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then variables, then the file."""
        return init_settings, env_settings, InitSettingsSource(settings_cls, file_values(cls))


class RedisSettings(SecuritySettings, CommonSettings):
    """What every process that talks to Redis needs."""

    redis: str = Field(
        "",
        validation_alias=shared_name("redis"),
        description="redis://, rediss://, unix://, redis+sentinel:// or redis+cluster:// URL; without one, `up` starts "
        "its own server.",
    )
    redis_timeout_s: float = Field(
        5.0,
        gt=0,
        validation_alias=shared_name("redis_timeout_s"),
        description="Longest wait for a connection to Redis and for one answer.",
    )
    allow_redis_eviction: bool = Field(
        False,
        validation_alias=shared_name("allow_redis_eviction"),
        description="Start also if Redis may evict any key, and with it rows, without a word.",
    )


Settings = TypeVar("Settings", bound=CommonSettings)


def load(cls: type[Settings], arguments: Mapping[str, Any]) -> Settings:
    """Builds `cls` from `arguments` (None: not given), variables and file.

    Raises:
        SettingsError: a value is unknown or out of range.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    try:
        return cls(**given)
    except ValidationError as error:
        raise SettingsError("; ".join(_describe(cls, problem) for problem in error.errors())) from None


def variable(cls: type[CommonSettings], name: str) -> str:
    """The environment variable of the setting `name`."""
    alias = cls.model_fields[name].validation_alias
    if isinstance(alias, AliasChoices):
        return str(alias.choices[-1])
    return f"{cls.model_config.get('env_prefix', '')}{name}".upper()


def unknown_variables() -> list[str]:
    """Environment variables that begin like ours and that nothing of ours reads."""
    return variables.unknown(_known_variables(), os.environ)


def variables_without_effect() -> list[str]:
    """A sentence about each of the environment's variables that begin like ours and that nothing of ours reads."""
    return [variables.without_effect(name, _known_variables()) for name in unknown_variables()]


def _known_variables() -> set[str]:
    return {variable(cls, name) for cls in PROCESSES for name in cls.model_fields} | OTHER_VARIABLES


def file_values(cls: type[CommonSettings]) -> dict[str, Any]:
    """What the file says to a process. Raises `SettingsError`, also for what it says to others and they do not know."""
    shared = [
        name
        for process in PROCESSES
        for name, field in process.model_fields.items()
        if isinstance(field.validation_alias, AliasChoices)
    ]
    try:
        return values_for(cls.role, {process.role: list(process.model_fields) for process in PROCESSES}, shared)
    except SettingsFileError as error:
        raise SettingsError(str(error)) from None


def _describe(cls: type[CommonSettings], problem: ErrorDetails) -> str:
    name = str(problem["loc"][0]) if problem["loc"] else "settings"
    field = next((field for field in cls.model_fields if name in (field, variable(cls, field))), None)
    if field is None:
        return f"setting {name} {wording.unknown_field(name, sorted(cls.model_fields))}"
    named: ErrorDetails = {**problem, "loc": (field, *problem["loc"][1:])}
    return f"setting {field} ({variable(cls, field)}): {wording.what(cls, named)}"
