"""HTTP over TLS: who gets an answer, probes without a certificate, several workers, junk."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from tests.processes import PsProcess, ServerProcess, until
from tests.security.authority import Authority

from rowbank import Credentials, RetrievalClient
from rowbank.errors import ServiceUnavailable

Start = Callable[..., PsProcess]


class Api(ServerProcess):
    """A retrieval service over TLS; `url` and `grpc` are known from the beginning."""

    def __init__(self, *arguments: str, log: Path) -> None:
        super().__init__("api", "--bind", "127.0.0.1:0", "--grpc-bind", "127.0.0.1:0", *arguments, log=log)
        _, _, self.url, grpc = self.ready_line().split()
        self.grpc = grpc.partition("=")[2]


@pytest.fixture
def start_api(redis_url: str, namespace: str, tmp_path: Path) -> Iterator[Callable[..., Api]]:
    with contextlib.ExitStack() as stack:

        def start(target: str, *arguments: str) -> Api:
            options = ("--redis", redis_url, "--namespace", namespace, "--targets", target, *arguments)
            api = Api(*options, log=tmp_path / "api.log")
            stack.callback(api.close)
            return api

        yield start


def context(authority: Authority, name: str = "") -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=str(authority.ca))
    if name:
        made.load_cert_chain(authority.folder / f"{name}.pem", authority.folder / f"{name}.key")
    return made


def status(url: str, path: str, tls: ssl.SSLContext) -> int:
    return httpx.get(url + path, verify=tls, timeout=30).status_code


def test_several_workers_under_mutual_tls(start_ps: Start, start_api: Callable[..., Api], authority: Authority) -> None:
    ps = start_ps(*authority.options(mutual=True))
    api = start_api(ps.target, *authority.options(mutual=True), "--workers", "2")
    assert api.url.startswith("https://")
    known, nobody = context(authority, "client"), context(authority)
    assert status(api.url, "/healthz", nobody) == 200
    assert status(api.url, "/readyz", nobody) in (200, 503)
    for path in ("/metrics", "/v1/models", "/openapi.json", "/demo", "/healthz/x", "/", "//healthz/../metrics"):
        answer = httpx.get(api.url + path, verify=nobody, timeout=30)
        assert (answer.status_code, answer.headers["content-type"]) == (403, "application/problem+json"), path
        assert "client certificate" in answer.json()["detail"]
    answer = httpx.post(api.url + "/v1/recommend", json={"user_id": 1}, verify=nobody, timeout=30)
    assert answer.status_code == 403
    assert status(api.url, "/v1/models", known) == 200
    workers = {httpx.get(api.url + "/healthz", verify=known).headers["x-rowbank-worker"] for _ in range(40)}
    assert workers == {"0", "1"}
    text = httpx.get(api.url + "/metrics", verify=known).text
    assert len(re.findall(r'rowbank_tls_certificate_not_after_timestamp_seconds{worker="[01]"}', text)) == 2
    stranger = Authority(authority.folder / "stranger")
    stranger.issue("client")
    odd = ssl.create_default_context(cafile=str(authority.ca))
    odd.load_cert_chain(stranger.folder / "client.pem", stranger.folder / "client.key")
    with pytest.raises(httpx.TransportError):
        status(api.url, "/healthz", odd)
    with RetrievalClient(api.grpc, credentials=authority.credentials("client")) as client:
        assert client.models().models == ()
    until(lambda: "parameter server cannot be reached" not in httpx.get(api.url + "/healthz", verify=known).text)
    with RetrievalClient(api.grpc, credentials=authority.credentials(), timeout_s=60) as client:
        with pytest.raises(ServiceUnavailable, match="asks for a client certificate"):
            client.models()
    assert "Traceback" not in api.log
    assert api.terminate() == 0, api.log


def test_what_is_no_tls_is_let_go_and_counted(
    start_ps: Start, start_api: Callable[..., Api], authority: Authority
) -> None:
    ps = start_ps(*authority.options())
    api = start_api(ps.target, *authority.options())
    port = int(api.url.rpartition(":")[2])
    for junk in (b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n", b"\x00" * 64, b"\x16\x03\x01\x00\x04abcd"):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as line, contextlib.suppress(ConnectionError):
            line.sendall(junk)
            said = b""
            while piece := line.recv(4096):
                said += piece
            assert not said.startswith(b"HTTP")
    with pytest.raises(httpx.TransportError):
        httpx.get(api.url + "/healthz", verify=ssl.create_default_context(), timeout=30)
    text = httpx.get(api.url + "/metrics", verify=context(authority), timeout=30).text
    [count] = re.findall(r"^rowbank_tls_handshake_failures_total (\S+)$", text, re.MULTILINE)
    assert float(count) >= 3
    with RetrievalClient(api.grpc, credentials=Credentials(), timeout_s=60) as client:
        with pytest.raises(ServiceUnavailable, match="TLS is spoken there"):
            client.models()
    assert status(api.url, "/healthz", context(authority)) == 200
    assert "Traceback" not in api.log


def test_the_port_of_a_shard_under_mutual_tls(start_ps: Start, authority: Authority) -> None:
    ps = start_ps(*authority.options(mutual=True), "--http-bind", "127.0.0.1:0", wait=False)
    url = ps.ready_line().split()[3].partition("=")[2]
    known, nobody = context(authority, "client"), context(authority)
    assert (status(url, "/healthz", nobody), status(url, "/readyz", nobody)) == (200, 200)
    assert (status(url, "/metrics", nobody), status(url, "/ui", nobody)) == (403, 403)
    assert status(url, "/metrics", known) == 200
    assert "Traceback" not in ps.log
