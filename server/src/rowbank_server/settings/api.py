"""Settings of the retrieval service."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from rowbank.addresses import parse_targets, split_address
from rowbank_server.settings.common import PROCESSES, RedisSettings
from rowbank_server.settings.naming import shared_name


class ApiSettings(RedisSettings):
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
    max_connections: int = Field(
        4096, ge=16, le=1 << 20, description="HTTP connections of each worker; requests on more of them are told 503."
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


PROCESSES.append(ApiSettings)
