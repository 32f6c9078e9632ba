"""The wire without our client in between: plain stubs, and errors as the classes they stand for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from rowbank.errors import RequestError, from_rpc_error
from rowbank_protos.v1 import (
    admin_pb2,
    admin_pb2_grpc,
    rows_pb2,
    rows_pb2_grpc,
    tables_pb2,
    tables_pb2_grpc,
)

LIMIT = 64 << 20


class Wire:
    """Stubs of one server; with `native`, calls of single requests for rows go to its native endpoint."""

    def __init__(self, target: str, *, native: bool = False) -> None:
        options = [("grpc.max_receive_message_length", LIMIT), ("grpc.max_send_message_length", LIMIT)]
        self.channel = grpc.insecure_channel(target, options)
        self.tables = tables_pb2_grpc.TableServiceStub(self.channel)
        self.rows = rows_pb2_grpc.RowServiceStub(self.channel)
        self.admin = admin_pb2_grpc.AdminServiceStub(self.channel)
        self.health = health_pb2_grpc.HealthStub(self.channel)
        self.native_address = ""
        if native:
            self.native_address = self.admin.GetServerInfo(admin_pb2.GetServerInfoRequest()).native_address
            if not self.native_address:
                pytest.skip("the server was built where nghttp2 is not")
            self.native_channel = grpc.insecure_channel(self.native_address, options)
            streams = self.rows
            self.rows = rows_pb2_grpc.RowServiceStub(self.native_channel)
            self.rows.Export, self.rows.Import = streams.Export, streams.Import

    def close(self) -> None:
        self.channel.close()
        if self.native_address:
            self.native_channel.close()

    def create(self, name: str, dim: int = 2, **fields: Any) -> tables_pb2.TableInfo:
        spec = tables_pb2.TableSpec(name=name, dim=dim, **{"optimizer": sgd(1.0), **fields})
        return self.tables.CreateTable(tables_pb2.CreateTableRequest(spec=spec)).table

    def push(self, table: str, keys: list[int], gradients: Any, **fields: Any) -> rows_pb2.PushResponse:
        part = rows_pb2.TableGradients(table=table, keys=i64(*keys), gradients=f32(gradients), **fields)
        return self.rows.Push(rows_pb2.PushRequest(tables=[part]))

    def pull(self, table: str, keys: list[int], dim: int = 2) -> tuple[np.ndarray, list[int]]:
        answer = self.rows.Pull(rows_pb2.PullRequest(tables=[rows_pb2.TableKeys(table=table, keys=i64(*keys))]))
        (rows,) = answer.tables
        return np.frombuffer(rows.values, "<f4").reshape(-1, dim), list(rows.status)

    def size(self, table: str) -> int:
        return self.rows.Size(rows_pb2.SizeRequest(table=table)).rows

    def serving(self, service: str = "") -> bool:
        status = self.health.Check(health_pb2.HealthCheckRequest(service=service)).status
        return status == health_pb2.HealthCheckResponse.SERVING


def i64(*keys: int) -> bytes:
    return np.array(keys, "<i8").tobytes()


def f32(values: Any) -> bytes:
    return np.asarray(values, "<f4").tobytes()


def sgd(learning_rate: float) -> tables_pb2.Optimizer:
    return tables_pb2.Optimizer(sgd=tables_pb2.Optimizer.SGD(learning_rate=learning_rate))


def adam(learning_rate: float = 0.1) -> tables_pb2.Optimizer:
    numbers = {"learning_rate": learning_rate, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}
    return tables_pb2.Optimizer(adam=tables_pb2.Optimizer.Adam(**numbers))


def uniform(seed: int = 7) -> tables_pb2.Initializer:
    return tables_pb2.Initializer(uniform=tables_pb2.Initializer.Uniform(low=-0.05, high=0.05, seed=seed))


def constant(value: float) -> tables_pb2.Initializer:
    return tables_pb2.Initializer(constant=tables_pb2.Initializer.Constant(value=value))


@contextlib.contextmanager
def refused(error: type[RequestError], *words: str) -> Iterator[None]:
    """The block's call fails with `error`, and the message has each of `words`."""
    with pytest.raises(grpc.RpcError) as caught:
        yield
    got = from_rpc_error(caught.value)
    assert type(got) is error, got
    missing = [word for word in words if word not in got.message]
    assert not missing, f"{missing} not in {got.message!r}"


def exported(wire, table):
    """All rows of a table by key: values, frequency, last use and optimizer slots, as bytes."""
    rows = {}
    for chunk in wire.rows.Export(rows_pb2.ExportRequest(table=table, with_slots=True)):
        keys = np.frombuffer(chunk.keys, "<i8")
        columns = [
            np.frombuffer(column, "u1").reshape(len(keys), -1)
            for column in (chunk.values, chunk.frequency, chunk.last_used, chunk.slots)
        ]
        for place, key in enumerate(keys.tolist()):
            rows[key] = b"".join(column[place].tobytes() for column in columns)
    return rows
