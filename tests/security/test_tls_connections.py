"""Connections to a parameter server that come about, and those that must not: what their callers are told, and when."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable

import numpy as np
import pytest
from tests.processes import PsProcess
from tests.security.authority import Authority

from rowbank import Client, Credentials, TableSpec
from rowbank.errors import InvalidRequest, ShardUnavailable

Start = Callable[..., PsProcess]
PLAIN = Credentials()
QUICK_S = 8.0  # Far below the deadline of 60 s, and above what a busy machine needs.


def works(target: str, credentials: Credentials, table: str = "t") -> None:
    with Client(target, credentials=credentials) as client:
        made = client.create_table(TableSpec(table, dim=2), exist_ok=True)
        made.upsert(np.array([1]), np.array([[1.0, 2.0]], np.float32))
        assert made.pull(np.array([1])).tolist() == [[1.0, 2.0]]


def refused(target: str, credentials: Credentials) -> str:
    """What a client is told that waits for its server; it is told so soon."""
    started = time.monotonic()
    with pytest.raises(ShardUnavailable) as failure:
        Client(target, credentials=credentials, timeout_s=60, connect_timeout_s=60)
    assert time.monotonic() - started < QUICK_S
    assert "Traceback" not in failure.value.message
    return failure.value.message


def test_who_does_not_fit_is_told_why_and_the_server_goes_on(start_ps: Start, authority: Authority) -> None:
    ps = start_ps(*authority.options())
    stranger = Authority(authority.folder, "stranger")
    works(ps.target, authority.credentials())
    said = refused(ps.target, stranger.credentials())
    assert "not signed by a CA of those in" in said
    assert str(stranger.ca) in said
    assert "ROWBANK_TLS_CA" in said
    said = refused(ps.target, PLAIN)
    assert "TLS is spoken there, and this client speaks plain text" in said
    said = refused(ps.target, authority.credentials(server_name="rows.example.org"))
    assert "for another host than 'rows.example.org'" in said
    for junk in (b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 300, b"\x16\x03\x01\x40\x00" + b"\xff" * 200):
        with socket.create_connection(("127.0.0.1", int(ps.target.rpartition(":")[2])), timeout=30) as line:
            line.sendall(junk)  # The last is half of a handshake, for whose other half it waits 10 s.
            while line.recv(4096):
                pass
    works(ps.target, authority.credentials())
    assert "Traceback" not in ps.log
    assert ps.terminate() == 0, ps.log


@pytest.mark.parametrize(
    ("days", "hosts", "said"),
    [
        ((-30, -2), ("127.0.0.1",), "expired at "),
        ((2, 30), ("127.0.0.1",), "is not valid yet before "),
        ((-1, 30), ("rows.example.org",), "is for another host than '127.0.0.1'"),
    ],
)
def test_certificates_that_no_client_accepts(
    start_ps: Start, authority: Authority, days: tuple[int, int], hosts: tuple[str, ...], said: str
) -> None:
    authority.issue("odd", *hosts, days=days)
    ps = start_ps(*authority.options("odd"))
    assert said in refused(ps.target, authority.credentials())
    if hosts == ("rows.example.org",):
        works(ps.target, authority.credentials(server_name="rows.example.org"))
    assert "Traceback" not in ps.log


def test_tls_to_a_server_that_speaks_none(target: str, authority: Authority) -> None:
    assert "no TLS is spoken there" in refused(target, authority.credentials())


def test_a_server_that_asks_for_certificates_answers_nobody_without(start_ps: Start, authority: Authority) -> None:
    ps = start_ps(*authority.options(mutual=True))
    stranger = Authority(authority.folder / "stranger")
    stranger.issue("client", "client.example.org")
    works(ps.target, authority.credentials("client"))
    said = refused(ps.target, authority.credentials())
    assert "asks for a client certificate, and this client has none" in said
    assert "ROWBANK_TLS_CERTIFICATE" in said
    odd = Credentials(
        ca_file=str(authority.ca),
        certificate_file=str(stranger.folder / "client.pem"),
        key_file=str(stranger.folder / "client.key"),
    )
    assert "refuses this client's certificate" in refused(ps.target, odd)
    authority.issue("late", "client.example.org", days=(-30, -2))
    assert "refuses this client's certificate" in refused(ps.target, authority.credentials("late"))
    works(ps.target, authority.credentials("client"))
    assert "Traceback" not in ps.log


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_old_versions_of_tls_are_refused(start_ps: Start, authority: Authority) -> None:
    ps = start_ps(*authority.options(), "--http-bind", "127.0.0.1:0", wait=False)
    *_, target, over_http = ps.ready_line().split()
    ports = [int(target.rpartition(":")[2]), int(over_http.rpartition(":")[2])]
    for port in ports:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(authority.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")
        with socket.create_connection(("127.0.0.1", port), timeout=10) as line, pytest.raises(ssl.SSLError):
            context.wrap_socket(line, server_hostname="127.0.0.1")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ca_file": "none.pem"}, "none.pem: cannot be read"),
        ({"ca_file": __file__}, "expected certificates in PEM form"),
        ({"certificate_file": "c.pem"}, "certificate_file and key_file together"),
        ({"token": "a", "token_file": "b"}, "one of token and token_file"),
        ({"token": "two words"}, "one token of printable ASCII"),
        ({"token_file": "none.token"}, "none.token: cannot be read"),
    ],
)
def test_credentials_that_cannot_be_used_are_said_at_once(target: str, change: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidRequest) as failure:
        Client(target, credentials=Credentials(**change))
    assert said in failure.value.message
    assert "two words" not in failure.value.message


def test_a_key_that_does_not_fit(target: str, authority: Authority) -> None:
    odd = Credentials(
        ca_file=str(authority.ca),
        certificate_file=str(authority.folder / "client.pem"),
        key_file=str(authority.folder / "server.key"),
    )
    with pytest.raises(InvalidRequest, match="the key does not belong to the certificate"):
        Client(target, credentials=odd)


def test_a_token_is_not_sent_in_plain_text_to_another_machine() -> None:
    for target in ("10.0.0.1:7700", "rows.example.org:7700", "127.example.org:7700", "[2001:db8::1]:7700"):
        with pytest.raises(InvalidRequest) as failure:
            Client(target, credentials=Credentials(token="rbk_secret"), connect_timeout_s=0.2)
        assert "not sent to" in failure.value.message
        assert "ROWBANK_TLS_CA" in failure.value.message
        assert "rbk_secret" not in failure.value.message
