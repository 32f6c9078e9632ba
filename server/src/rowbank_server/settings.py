"""Settings of the three processes: parameter server (`ps`), retrieval service (`api`) and the whole (`up`).

A value comes from, first to last: the command line, an environment variable, `rowbank.toml` (or the file that
`ROWBANK_CONFIG` names), the default below. What all processes share stands at the top of the file and in
`ROWBANK_<NAME>`; what belongs to one process stands in its table (`[ps]`, `[api]`, `[up]`) and in
`ROWBANK_<PROCESS>_<NAME>`. Settings are frozen and check themselves once; units are in the names.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import AliasChoices, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, InitSettingsSource, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from rowbank import variables
from rowbank.addresses import parse_targets, split_address
from rowbank_server import wording
from rowbank_server.settings_file import CONFIG_VARIABLE, SettingsFileError, values_for

# Beside the settings: read by other parts of the product, or set for its tests.
OTHER_VARIABLES = frozenset(
    {CONFIG_VARIABLE, "ROWBANK_REDIS_SERVER", "ROWBANK_RETRIEVAL", "ROWBANK_CHAOS_SEED", "ROWBANK_TEST_NEWEST"}
)
_NAMESPACE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_SHARD = re.compile(r"[0-9]{1,4}/[0-9]{1,4}")
_LOOPBACK_HOSTS = {"localhost", "[::1]"}


class SettingsError(Exception):
    """A setting is unknown or out of range; the text names it, the value and what was expected."""


class StartError(Exception):
    """A server cannot start on this machine; the text says why and what to do."""


def shared_name(name: str) -> AliasChoices:
    """Both names of a setting that all processes share: the field's, and the variable's without a process in it."""
    return AliasChoices(name, f"ROWBANK_{name.upper()}")


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach `address`."""
    host, _ = split_address(address)
    return host in _LOOPBACK_HOSTS or host.startswith("127.")


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
    insecure: bool = Field(
        False,
        validation_alias=shared_name("insecure"),
        description="Allow binding to addresses that other machines can reach, without TLS or tokens.",
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
        return init_settings, env_settings, InitSettingsSource(settings_cls, _file_values(cls))


class _RedisSettings(CommonSettings):
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


class PsSettings(_RedisSettings):
    """One shard of the parameter server."""

    model_config = SettingsConfigDict(env_prefix="ROWBANK_PS_")
    role = "ps"

    bind: str = Field("127.0.0.1:7700", description="HOST:PORT of the gRPC server; port 0 takes a free one.")
    metrics_bind: str = Field("", description="HOST:PORT of the Prometheus metrics (HTTP, /metrics); empty: off.")
    shard: str = Field("0/1", description="Which shard of how many: I/N, I from 0.")
    standby: bool = Field(
        False, description="Follow the shard's owner, and become the owner when there is none or it falls silent."
    )
    replica: bool = Field(False, description="Follow the shard's owner and answer reads; never become the owner.")
    advertise: str = Field(
        "",
        description="HOST:PORT at which others reach this process; empty: `bind`, where that is an address of all "
        "interfaces with this machine's name.",
    )
    lease_s: float = Field(
        0.6, ge=0.1, le=60, description="An owner that is silent for so long is replaced by a standby, if there is one."
    )
    bucket_count: int = Field(256, ge=1, le=65536, description="Buckets per table; fixed when a table is created.")
    flush_interval_s: float = Field(1.0, gt=0, le=3600, description="Longest time between write-backs to Redis.")
    max_dirty_rows: int = Field(
        5_000_000, ge=1, description="Unwritten rows beyond which mutations are refused while Redis cannot be reached."
    )
    max_keys_per_request: int = Field(
        1_000_000, ge=1, description="Keys that one request may carry, all tables together."
    )
    max_message_bytes: int = Field(64 << 20, ge=1 << 16, le=1 << 30, description="Largest gRPC message, both ways.")
    worker_threads: int = Field(
        16, ge=1, le=1024, description="Requests worked on at the same time; as many reads of rows beside them."
    )
    load_threads: int = Field(4, ge=1, le=64, description="Threads that read rows from Redis at start.")
    dedup_window: int = Field(
        1024,
        ge=1,
        description="Mutations remembered per client, so that repeats are recognised; about 0.2 KB of RAM each.",
    )
    dedup_clients: int = Field(
        1024, ge=1, description="Clients whose mutations are remembered; the least recent go first."
    )
    journal_wait_s: float = Field(
        2.0, gt=0, description="Longest wait for a mutation's journal append before its caller is told to try again."
    )
    journal_max_bytes: int = Field(
        1 << 30, ge=1 << 20, description="Journal kept in Redis until it is written back; beyond it, mutations wait."
    )
    journal_max_pending_bytes: int = Field(
        256 << 20, ge=1 << 20, description="Journal kept in RAM until Redis takes it; beyond it, mutations are refused."
    )
    follow_buffer_bytes: int = Field(
        64 << 20,
        ge=1 << 20,
        description="Newest mutations kept in RAM while somebody follows, and a minute longer; who falls behind them "
        "has to read the journal, or everything.",
    )
    max_followers: int = Field(
        32, ge=1, le=1024, description="Followers of a shard at the same time, servers left out; one more is refused."
    )
    eviction_interval_s: float = Field(
        1.0, gt=0, le=3600, description="Time between looks at which tables are over their caps or have expired rows."
    )
    eviction_budget_ms: float = Field(
        5.0, gt=0, le=1000, description="Longest that eviction works on a table before it lets requests go first."
    )
    models_keep: int = Field(
        0,
        ge=0,
        description="Newest versions of each model that stay, as `rowbank models prune --keep` has it, looked at every "
        "minute; 0: nothing goes by itself.",
    )
    eviction_history: int = Field(10_000, ge=1, description="Eviction events kept in Redis, about.")
    drain_timeout_s: float = Field(
        20.0, gt=0, description="After SIGTERM: longest wait for requests in flight, and again for the last write-back."
    )

    @field_validator("bind")
    @classmethod
    def _check_bind(cls, value: str) -> str:
        split_address(value)
        return value

    @field_validator("metrics_bind", "advertise")
    @classmethod
    def _check_other_addresses(cls, value: str) -> str:
        if value:
            split_address(value)
        return value

    @field_validator("replica")
    @classmethod
    def _check_replica(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("standby"):
            raise ValueError("expected one of standby and replica, got both; a standby does not answer reads")
        return value

    @field_validator("shard")
    @classmethod
    def _check_shard(cls, value: str) -> str:
        index, count = (int(part) for part in value.split("/")) if _SHARD.fullmatch(value) else (0, 0)
        if index >= count:
            raise ValueError(f"expected I/N with I from 0 to N-1, such as 0/1, got {value!r}")
        return value

    @property
    def shard_index(self) -> int:
        """This shard, from 0."""
        return int(self.shard.split("/")[0])

    @property
    def shard_count(self) -> int:
        """How many shards there are."""
        return int(self.shard.split("/")[1])


class ApiSettings(_RedisSettings):
    """The retrieval service."""

    model_config = SettingsConfigDict(env_prefix="ROWBANK_API_")
    role = "api"

    bind: str = Field("127.0.0.1:7780", description="HOST:PORT of the HTTP server; port 0 takes a free one.")
    grpc_bind: str = Field("", description="HOST:PORT of the gRPC server; empty: off.")
    workers: int = Field(1, ge=1, le=64, description="Processes that answer at these addresses.")
    math_threads: int = Field(
        1,
        ge=1,
        le=1024,
        description="Threads that NumPy and faiss may use in each of several workers, unless OMP_NUM_THREADS and the "
        "like say otherwise.",
    )
    targets: Annotated[tuple[str, ...], NoDecode] = Field(
        ("127.0.0.1:7700",),
        validation_alias=shared_name("targets"),
        description="HOST:PORT of each parameter-server shard, separated by commas; those of several processes of one "
        "shard separated by |.",
    )
    model: str = Field(
        "two_tower",
        min_length=1,
        description="The model that answers requests that name none; where it has no version, the only one there is.",
    )
    max_staleness_s: float | None = Field(
        None,
        gt=0,
        description="Queries may read rows of replicas that are at most so old; none: of owners alone, as indexes do.",
    )
    popularity_interval_s: float = Field(
        10.0,
        gt=0,
        description="How often users' histories are counted for what is popular; less often where that takes long.",
    )
    index_dir: str = Field(
        "",
        description="Folder where indexes are kept in files, which the processes of a machine share and a restarted "
        "one serves at once; it has to belong to the service's user alone. Empty: none; `up` has one.",
    )
    index_kind: Literal["auto", "exact", "inverted", "faiss"] = Field(
        "auto",
        description="How items are searched: exact, inverted (lists of similar items, for large catalogues), faiss "
        "(its inverted lists; needs rowbank-server[faiss]) or auto (exact up to `index_exact_max_items`, inverted "
        "above, where that reaches `index_recall_target`).",
    )
    index_exact_max_items: int = Field(
        500_000, ge=0, description="Largest catalogue that auto searches exactly, without trying inverted lists."
    )
    index_recall_target: float = Field(
        0.99, gt=0, lt=1, description="Share of the exact best 100 that an index which is not exact is built to find."
    )
    index_probe_interval_s: float = Field(
        600.0, ge=0, description="How often the recall of what is served is measured on a few queries; 0: never."
    )
    query_budget_ms: float = Field(
        250.0,
        gt=0,
        le=60_000,
        description="What one query may take from its arrival; what is slower is left out, and `degraded` says so.",
    )
    row_timeout_s: float = Field(
        0.5, gt=0, description="Longest that a read of rows goes on; queries wait for it as their budget lets them."
    )
    redis_wait_s: float = Field(
        2.0, gt=0, description="Longest that an endpoint other than a query waits for Redis; then it answers 503."
    )
    max_batch: int = Field(32, ge=1, le=1024, description="Queries that are answered together, at most.")
    max_queue: int = Field(1024, ge=1, description="Queries that may wait; one more is refused with 429.")
    history_limit: int = Field(1000, ge=1, le=100_000, description="Items that a user's history keeps, the latest.")
    event_kinds: Annotated[tuple[str, ...], NoDecode] = Field(
        ("view", "click", "purchase"),
        min_length=1,
        description="Kinds of events, separated by commas; an event that names none is of the first.",
    )
    history_kinds: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Kinds of events whose items go into histories, which feed the query tower; empty: all."
    )
    seen_kinds: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Kinds of events that `exclude_seen` excludes where a query names none; empty: all of a history.",
    )
    popular_retention_h: int = Field(
        720, ge=1, le=8784, description="Hours that events are counted for, so the longest window of what is popular."
    )
    body_timeout_s: float = Field(
        30.0, gt=0, le=3600, description="Longest that a request's body may take to arrive, and an import be silent."
    )
    max_imports: int = Field(2, ge=1, le=64, description="Imports at the same time; one more is refused with 429.")
    import_max_bytes: int = Field(1 << 30, ge=1 << 20, description="Largest body of an import.")
    drain_timeout_s: float = Field(20.0, gt=0, description="After SIGTERM: longest wait for requests in flight.")

    @field_validator("event_kinds", "history_kinds", "seen_kinds", mode="before")
    @classmethod
    def _split_kinds(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("targets", mode="before")
    @classmethod
    def _split_targets(cls, value: Any) -> Any:
        return tuple(parse_targets(value)) if isinstance(value, (str, list)) else value

    @field_validator("bind", "grpc_bind")
    @classmethod
    def _check_bind(cls, value: str, info: ValidationInfo) -> str:
        if value or info.field_name == "bind":
            split_address(value)
        return value


class UpSettings(_RedisSettings):
    """Everything on one machine: Redis (unless given), one shard, the retrieval service."""

    model_config = SettingsConfigDict(env_prefix="ROWBANK_UP_")
    role = "up"

    data_dir: Path = Field(
        Path("rowbank-data"), description="Folder of the embedded Redis: its append-only file, log and socket."
    )
    appendfsync: Literal["no", "everysec", "always"] = Field(
        "no",
        description="How the embedded Redis syncs its append-only file: no (written before each answer, synced once a "
        "second), everysec (the same, but a killed Redis may lose its newest answers) or always (needed by synced "
        "tables).",
    )
    grpc_bind: str = Field("127.0.0.1:7700", description="HOST:PORT of the parameter server.")
    standby: bool = Field(
        False, description="Run a second parameter server, which takes over when the first one falls; both start again."
    )
    standby_grpc_bind: str = Field(
        "127.0.0.1:7702", description="HOST:PORT of the second parameter server, with `standby`."
    )
    http_bind: str = Field("127.0.0.1:7780", description="HOST:PORT of the retrieval service over HTTP.")
    retrieval_grpc_bind: str = Field(
        "127.0.0.1:7781", description="HOST:PORT of the retrieval service over gRPC; empty: off."
    )
    api_workers: int = Field(1, ge=1, le=64, description="Processes of the retrieval service.")
    model: str = Field(
        "two_tower",
        min_length=1,
        description="The model that answers requests that name none; where it has no version, the only one there is.",
    )
    start_timeout_s: float = Field(300.0, gt=0, description="Longest wait for each process to become ready.")
    stop_timeout_s: float = Field(60.0, gt=0, description="Longest wait for each process to end before it is killed.")

    @field_validator("grpc_bind", "standby_grpc_bind", "http_bind", "retrieval_grpc_bind")
    @classmethod
    def _check_bind(cls, value: str, info: ValidationInfo) -> str:
        if value or info.field_name != "retrieval_grpc_bind":
            split_address(value)
        return value


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


def require_private(address: str, *, insecure: bool, setting: str) -> None:
    """Refuses an address that other machines can reach, unless told that this is meant.

    Raises:
        SettingsError: it can be reached and `insecure` is not set.
    """
    if not insecure and not is_loopback(address):
        raise SettingsError(
            f"{setting} {address} can be reached from other machines without TLS or tokens; "
            "bind to 127.0.0.1, or pass --insecure if the network is trusted"
        )


def unknown_variables() -> list[str]:
    """Environment variables that begin like ours and that nothing of ours reads."""
    return variables.unknown(_known_variables(), os.environ)


def variables_without_effect() -> list[str]:
    """A sentence about each of the environment's variables that begin like ours and that nothing of ours reads."""
    return [variables.without_effect(name, _known_variables()) for name in unknown_variables()]


def _known_variables() -> set[str]:
    return {variable(cls, name) for cls in _PROCESSES for name in cls.model_fields} | OTHER_VARIABLES


_PROCESSES: tuple[type[CommonSettings], ...] = (PsSettings, ApiSettings, UpSettings)


def _file_values(cls: type[CommonSettings]) -> dict[str, Any]:
    """What the file says to a process. Raises `SettingsError`, also for what it says to others and they do not know."""
    shared = [
        name
        for process in _PROCESSES
        for name, field in process.model_fields.items()
        if isinstance(field.validation_alias, AliasChoices)
    ]
    try:
        return values_for(cls.role, {process.role: list(process.model_fields) for process in _PROCESSES}, shared)
    except SettingsFileError as error:
        raise SettingsError(str(error)) from None


def _describe(cls: type[CommonSettings], problem: ErrorDetails) -> str:
    name = str(problem["loc"][0]) if problem["loc"] else "settings"
    field = next((field for field in cls.model_fields if name in (field, variable(cls, field))), None)
    if field is None:
        return f"setting {name} {wording.unknown_field(name, sorted(cls.model_fields))}"
    named: ErrorDetails = {**problem, "loc": (field, *problem["loc"][1:])}
    return f"setting {field} ({variable(cls, field)}): {wording.what(cls, named)}"
