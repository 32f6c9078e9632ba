"""Settings of the parameter server."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from rowbank.addresses import split_address
from rowbank_server.settings.common import PROCESSES, RedisSettings

AUTO, OFF, UNIX = "auto", "off", "unix:"  # Of `native_bind`.
_SHARD = re.compile(r"[0-9]{1,4}/[0-9]{1,4}")


class PsSettings(RedisSettings):
    """One shard of the parameter server."""

    model_config = SettingsConfigDict(env_prefix="ROWBANK_PS_")
    role = "ps"

    bind: str = Field("127.0.0.1:7700", description="HOST:PORT of the gRPC server; port 0 takes a free one.")
    native_bind: str = Field(
        "auto",
        description="HOST:PORT or unix:PATH of the native endpoint, which answers requests for rows faster; port 0 "
        "takes a free one; auto: the host of `bind` and a free port; off: none.",
    )
    http_bind: str = Field(
        "", description="HOST:PORT of metrics, probes and the page /ui (HTTP); port 0 takes a free one; empty: off."
    )
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
    flush_interval_s: float = Field(
        1.0, gt=0, le=3600, description="Longest time between write-backs of relaxed tables to Redis."
    )
    journaled_flush_interval_s: float = Field(
        300.0,
        ge=0,
        le=3600,
        description="Longest time between write-backs of journaled and synced tables while they are trained; 0: as "
        "`flush_interval_s`.",
    )
    recovery_target_s: float = Field(
        10.0,
        gt=0,
        le=3600,
        description="Seconds that replaying the journal may take at a start, about; journaled tables are written back "
        "before it would take longer.",
    )
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
    max_calls: int = Field(
        512, ge=16, le=8192, description="Calls in flight, those that wait included; one more is refused as overload."
    )
    max_calls_per_caller: int = Field(
        256, ge=1, le=8192, description="Calls in flight of one token, or without tokens of one machine."
    )
    max_calls_per_table: int = Field(256, ge=1, le=8192, description="Reads and changes of one table in flight.")
    max_bytes: int = Field(
        1 << 30, ge=1 << 20, description="Bytes of requests, and of the rows that reads ask for, in flight."
    )
    max_bytes_per_caller: int = Field(256 << 20, ge=1 << 20, description="The same of one caller.")
    max_bytes_per_table: int = Field(512 << 20, ge=1 << 20, description="The same of one table.")
    table_weights: Annotated[dict[str, float], NoDecode] = Field(
        default_factory=dict,
        description="Shares of tables in what is worked on while requests wait, such as `user=4,item=1`; a table that "
        "is not named has 1.",
    )
    first_come: bool = Field(False, description="Serve first come, first served; else callers and tables take turns.")
    max_streams_per_connection: int = Field(
        128, ge=1, le=8192, description="Calls in flight on one connection; a client lets more of them wait."
    )
    message_timeout_s: float = Field(
        30.0, gt=0, le=3600, description="Longest that a request may take to arrive once its call has begun."
    )
    memory_limit_bytes: int | None = Field(
        None,
        ge=0,
        description="RAM beyond which new rows and tables are refused; none: what the machine, the control group and "
        "the limits of the process leave, but for a reserve; 0: never.",
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
        2 << 30,
        ge=1 << 20,
        description="Journal kept in Redis until it is written back; mutations wait a little from four fifths of it "
        "on, and for room at it.",
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
    second_chance_wait_ms: float = Field(
        50.0,
        gt=0,
        le=60_000,
        description="Longest that a pull or a push waits for evicted rows of its keys that may come back from Redis.",
    )
    models_keep: int = Field(
        0,
        ge=0,
        description="Newest versions of each model that stay, as `rowbank models prune --keep` has it, looked at every "
        "minute; 0: nothing goes by itself.",
    )
    eviction_history: int = Field(10_000, ge=1, description="Eviction events kept in Redis, about.")
    access_sample_bytes: int = Field(
        8 << 20,
        ge=0,
        le=1 << 32,
        description="RAM of a shard for a sample of accesses, which `rowbank evict --what-if` replays, 24 bytes each, "
        "shared by its tables; 0: none is taken.",
    )
    advice_interval_s: float = Field(
        3600, ge=1, description="Time between looks at which tables evict rows too early, and what cap would do."
    )
    advice_regret_below: float = Field(
        0.01,
        gt=0,
        lt=1,
        description="Share of pushes of keys evicted a short while before, above which a table gets advice.",
    )
    eviction_keys_bytes: int = Field(
        64 << 20,
        ge=0,
        description="Redis memory of a shard for which keys left its tables, when and why, 18 bytes each; 0: none is "
        "kept.",
    )
    eviction_keys_retention_s: float = Field(
        604_800, ge=60, description="How long it is kept which keys left the tables."
    )
    drain_timeout_s: float = Field(
        20.0, gt=0, description="After SIGTERM: longest wait for requests in flight, and again for the last write-back."
    )

    @field_validator("table_weights", mode="before")
    @classmethod
    def _split_weights(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        parts = [part.partition("=") for part in value.split(",") if part.strip()]
        return {name.strip(): weight.strip() for name, _, weight in parts}

    @field_validator("table_weights")
    @classmethod
    def _check_weights(cls, value: dict[str, float]) -> dict[str, float]:
        for name, weight in value.items():
            if not name or not 0.001 <= weight <= 1000:
                raise ValueError(f"expected TABLE=WEIGHT with weights of 0.001 to 1000, got {name}={weight:g}")
        return value

    @field_validator("bind")
    @classmethod
    def _check_bind(cls, value: str) -> str:
        split_address(value)
        return value

    @field_validator("native_bind")
    @classmethod
    def _check_native_bind(cls, value: str) -> str:
        if value.startswith(UNIX):
            if not value.removeprefix(UNIX).startswith("/"):
                raise ValueError(f"expected unix: and an absolute path, got {value!r}")
        elif value not in (AUTO, OFF):
            split_address(value)
        return value

    @field_validator("http_bind", "advertise")
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
    def listens_natively_at(self) -> str:
        """The HOST:PORT that `native_bind` names; empty: it names none of its own."""
        named = self.native_bind not in (AUTO, OFF) and not self.native_bind.startswith(UNIX)
        return self.native_bind if named else ""

    @property
    def shard_index(self) -> int:
        """This shard, from 0."""
        return int(self.shard.split("/")[0])

    @property
    def shard_count(self) -> int:
        """How many shards there are."""
        return int(self.shard.split("/")[1])


PROCESSES.append(PsSettings)
