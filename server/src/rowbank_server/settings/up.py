"""Settings of everything on one machine."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import SettingsConfigDict

from rowbank.addresses import split_address
from rowbank_server.settings.common import PROCESSES, RedisSettings


class UpSettings(RedisSettings):
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
    ps_http_bind: str = Field(
        "127.0.0.1:7782",
        description="HOST:PORT of the parameter server's metrics, probes and page /ui; empty: off. With `standby`, the "
        "second one takes the next port.",
    )
    api_workers: int = Field(1, ge=1, le=64, description="Processes of the retrieval service.")
    model: str = Field(
        "two_tower",
        min_length=1,
        description="The model that answers requests that name none; where it has no version, the only one there is.",
    )
    start_timeout_s: float = Field(300.0, gt=0, description="Longest wait for each process to become ready.")
    stop_timeout_s: float = Field(60.0, gt=0, description="Longest wait for each process to end before it is killed.")

    @field_validator("grpc_bind", "standby_grpc_bind", "http_bind", "retrieval_grpc_bind", "ps_http_bind")
    @classmethod
    def _check_bind(cls, value: str, info: ValidationInfo) -> str:
        if value or info.field_name not in ("retrieval_grpc_bind", "ps_http_bind"):
            split_address(value)
        return value


PROCESSES.append(UpSettings)
