"""One service for the tests of what callers see: HTTP and gRPC over the same world, with features to filter by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import httpx
import pytest
from tests.processes import PsProcess
from tests.retrieval.support import ApiProcess, World, serving

import rowbank
from rowbank.errors import RequestError, from_rpc_error
from rowbank.features import FeatureField, FeatureView
from rowbank_protos.v1 import retrieval_pb2_grpc

ITEM_FIELDS = (
    FeatureField("title", "string"),
    FeatureField("title_tokens", "int64_list"),
    FeatureField("year", "int64"),
    FeatureField("brand", "string"),
)


def year(item: int) -> int:
    return 1960 + item % 40


def brand(item: int) -> str:
    return "abc"[item % 3]


@dataclass
class Both:
    """A service by its two protocols."""

    http: httpx.Client
    stub: retrieval_pb2_grpc.RetrievalServiceStub
    channel: grpc.Channel
    client: rowbank.Client
    api: ApiProcess

    def rpc(self, method: str, request: Any) -> Any:
        return getattr(self.stub, method)(request, timeout=30)

    def rpc_error(self, method: str, request: Any) -> RequestError:
        with pytest.raises(grpc.RpcError) as failure:
            self.rpc(method, request)
        return from_rpc_error(failure.value)


@pytest.fixture(scope="module")
def world() -> World:
    return World("api")


@pytest.fixture(scope="module")
def options() -> tuple[str, ...]:
    """Settings of the service, for a module to replace."""
    return ()


@pytest.fixture(scope="module")
def both(
    world: World, options: tuple[str, ...], redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Both]:
    folder = tmp_path_factory.mktemp("both")
    namespace = folder.name
    ps = PsProcess("--namespace", namespace, redis_url=redis_url, log=folder / "ps.log")
    try:
        ps.wait_ready()
        with rowbank.Client(ps.target) as client:
            world.create_tables(client)
            world.write_features(client)
            client.features.put_view(FeatureView("items", "item_id", ITEM_FIELDS))
            client.features.write("items", {int(i): {"year": year(i), "brand": brand(i)} for i in world.items})
            world.publish(client, "v1")
            api = ApiProcess(
                "--grpc-bind",
                "127.0.0.1:0",
                *options,
                redis_url=redis_url,
                target=ps.target,
                namespace=namespace,
                log=folder / "api.log",
            )
            try:
                api.wait_ready()
                address = api.grpc_target
                with httpx.Client(base_url=api.url, timeout=30) as http, grpc.insecure_channel(address) as channel:
                    serving(http, "v1")
                    yield Both(http, retrieval_pb2_grpc.RetrievalServiceStub(channel), channel, client, api)
                    assert api.terminate() == 0, api.log
            finally:
                api.close()
    finally:
        ps.close()
