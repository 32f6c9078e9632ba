"""Tokens that clients show: with every call, from files that are read again, and never to be found elsewhere."""

from __future__ import annotations

import asyncio
import concurrent.futures
import pickle
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from tests.security.authority import replace

from rowbank import AsyncRetrievalClient, Client, Credentials, RetrievalClient
from rowbank.errors import RowbankError, Unauthenticated
from rowbank.secure.channels import open_channel


class Doorman(grpc.ServerInterceptor):
    """Notes what calls show, and refuses them unless it is `wanted`."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.wanted = ""

    def intercept_service(self, continuation: Any, details: Any) -> Any:
        shown = dict(details.invocation_metadata).get("authorization", "")
        self.seen.append(shown)
        known = shown == f"Bearer {self.wanted}"

        def answer(request: Any, context: Any) -> None:
            context.abort(
                grpc.StatusCode.UNIMPLEMENTED if known else grpc.StatusCode.UNAUTHENTICATED,
                "known" if known else "unknown",
            )

        return grpc.unary_unary_rpc_method_handler(answer)


def _same(data: bytes) -> bytes:
    return data


@pytest.fixture
def doorman() -> Iterator[tuple[Doorman, str]]:
    found = Doorman()
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(2), interceptors=[found])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield found, f"127.0.0.1:{port}"
    server.stop(0)


def test_every_client_shows_its_token(doorman: tuple[Doorman, str]) -> None:
    found, target = doorman
    credentials = Credentials(token="rbk_0123")
    with pytest.raises(Unauthenticated):
        Client(target, credentials=credentials)
    with RetrievalClient(target, credentials=credentials) as client, pytest.raises(Unauthenticated):
        client.models()

    async def ask() -> None:
        async with AsyncRetrievalClient(target, credentials=credentials) as client:
            with pytest.raises(Unauthenticated):
                await client.models()

    asyncio.run(ask())
    assert len(found.seen) == 3
    assert set(found.seen) == {"Bearer rbk_0123"}


def test_a_file_is_read_again_when_it_changes(doorman: tuple[Doorman, str], tmp_path: Any) -> None:
    found, target = doorman
    path = tmp_path / "token"
    path.write_text("one\n")
    with open_channel(target, Credentials(token_file=str(path))) as channel:
        call = channel.unary_unary("/s/m", _same, _same)

        def result() -> str:
            with pytest.raises(grpc.RpcError) as failure:
                call(b"", timeout=30)
            return str(failure.value.details())

        found.wanted = "one"
        assert result() == "known"
        replace(path, b"two")
        found.wanted = "two"
        assert result() == "known"
        replace(path, b"")  # It is being written.
        assert result() == "known"
        path.unlink()
        assert result() == "known"
        found.wanted = "three"
        assert result() == "unknown"
    assert found.seen == ["Bearer one"] + ["Bearer two"] * 4


def test_a_call_that_was_refused_is_made_again_with_a_token_that_is_new_by_then(
    doorman: tuple[Doorman, str], tmp_path: Any
) -> None:
    found, target = doorman
    path = tmp_path / "token"
    path.write_text("old")
    found.wanted = "new"
    with open_channel(target, Credentials(token_file=str(path))) as channel:

        def renew(request: bytes) -> bytes:
            path.write_text("new")
            return request

        call = channel.unary_unary("/s/m", renew, _same)
        with pytest.raises(grpc.RpcError) as failure:
            call(b"", timeout=30)  # The file changes once the token was taken.
    assert failure.value.details() == "known"
    assert found.seen == ["Bearer old", "Bearer new"]


def test_no_token_in_what_is_shown_or_stored(doorman: tuple[Doorman, str]) -> None:
    _, target = doorman
    literal = Credentials(token="rbk_secret")
    assert "rbk_secret" not in repr(literal)
    with pytest.raises(pickle.PicklingError, match="token_file"):
        pickle.dumps(literal)
    named = Credentials(ca_file="a", certificate_file="b", key_file="c", server_name="d", token_file="e")
    assert pickle.loads(pickle.dumps(named)) == named
    with RetrievalClient(target, credentials=Credentials(token="rbk_secret")) as client:
        with pytest.raises(RowbankError) as failure:
            client.models()
        assert "rbk_secret" not in str(failure.value) + repr(client) + repr(failure.value.metadata)
        with pytest.raises(pickle.PicklingError):
            pickle.dumps(client)
