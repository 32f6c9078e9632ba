"""Certificates that change while a server works: no request fails, and what is broken changes nothing."""

from __future__ import annotations

import contextlib
import re
import ssl
import threading
from collections.abc import Callable

import httpx
import numpy as np
from tests.processes import PsProcess, until
from tests.security.authority import Authority, replace

from rowbank import Client, Credentials, TableSpec
from rowbank.secure import certificates

Start = Callable[..., PsProcess]


def served_until(port: int) -> float:
    """Unix seconds at which the certificate of a TLS port expires."""
    pem = ssl.get_server_certificate(("127.0.0.1", port), timeout=10)
    return certificates.validity(pem.encode())[1].timestamp()


def file_until(authority: Authority, name: str = "server") -> float:
    return certificates.validity((authority.folder / f"{name}.pem").read_bytes())[1].timestamp()


def metric(url: str, authority: Authority, name: str) -> float:
    context = ssl.create_default_context(cafile=str(authority.ca))
    text = httpx.get(f"{url}/metrics", verify=context, timeout=30).text
    [value] = re.findall(rf"^{name} (\S+)$", text, re.MULTILINE)
    return float(value)


class _Load:
    """Opens a connection, pulls, and closes it, again and again; `failures` is what went wrong."""

    def __init__(self, target: str, credentials: Credentials) -> None:
        self.calls, self.failures = 0, list[BaseException]()
        self._target, self._credentials = target, credentials
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(2)]

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with Client(self._target, credentials=self._credentials, timeout_s=30) as client:
                    client.table("t").pull(np.arange(64))
                self.calls += 1
            except Exception as error:
                self.failures.append(error)

    def __enter__(self) -> _Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_new_certificates_are_served_without_a_failed_request(start_ps: Start, authority: Authority) -> None:
    ps = start_ps(*authority.options(mutual=True), "--http-bind", "127.0.0.1:0", wait=False)
    _, _, target, http = ps.ready_line().split()
    url = http.partition("=")[2]
    ports = [int(target.rpartition(":")[2]), int(url.rpartition(":")[2])]
    credentials = authority.credentials("client")
    with contextlib.ExitStack() as stack:
        steady = stack.enter_context(Client(target, credentials=credentials))
        table = steady.create_table(TableSpec("t", dim=8))
        load = stack.enter_context(_Load(target, credentials))
        for days in (40, 50, 60):
            authority.issue("server", days=(-1, days))
            authority.issue("client", "client.example.org", days=(-1, days))
            until(lambda: _serves(ports[1], authority), what="the new certificate over HTTP")
            table.pull(np.arange(64))
        until(lambda: load.calls > 10, what="calls over new connections")
    assert load.failures == []
    assert "Traceback" not in ps.log
    assert ps.log.count("serving the new certificate") >= 3


def _serves(port: int, authority: Authority) -> bool:
    return served_until(port) == file_until(authority)


def test_broken_files_change_nothing_and_are_counted(start_ps: Start, authority: Authority) -> None:
    ps = start_ps(*authority.options(), "--http-bind", "127.0.0.1:0", wait=False)
    _, _, target, http = ps.ready_line().split()
    url = http.partition("=")[2]
    assert url.startswith("https://")
    port, good = int(url.rpartition(":")[2]), file_until(authority)
    failures = "rowbank_tls_reload_failures_total"
    assert metric(url, authority, failures) == 0
    assert metric(url, authority, "rowbank_tls_certificate_not_after_timestamp_seconds") == good
    for count, broken in enumerate((b"", b"no certificate", (authority.folder / "client.pem").read_bytes()), start=1):
        replace(authority.folder / "server.pem", broken)
        until(lambda count=count: metric(url, authority, failures) == count, what="a failure that is counted")
        assert served_until(port) == good
    assert ps.log.count("the new certificate cannot be used") == 3
    (authority.folder / "server.pem").unlink()
    until(lambda: metric(url, authority, failures) == 4, what="a missing file that is counted")
    with Client(target, credentials=authority.credentials()) as client:
        client.list_tables()
    authority.issue("server", days=(-1, 77))
    until(lambda: served_until(port) == file_until(authority), what="the good certificate")
    assert metric(url, authority, "rowbank_tls_certificate_not_after_timestamp_seconds") == file_until(authority)
    assert "Traceback" not in ps.log


def test_a_client_goes_on_when_the_ca_is_replaced(start_ps: Start, authority: Authority) -> None:
    ps = start_ps(*authority.options())
    trusted = authority.folder / "trusted.pem"
    trusted.write_bytes(authority.ca.read_bytes())
    with Client(ps.target, credentials=Credentials(ca_file=str(trusted)), timeout_s=60) as client:
        client.list_tables()
        successor = Authority(authority.folder, "successor")
        replace(trusted, successor.ca.read_bytes())
        successor.issue("server")
        assert ps.terminate() == 0
        again = start_ps("--bind", ps.target, *authority.options(), "--tls-ca", str(successor.ca))
        client.list_tables()
        assert again.terminate() == 0
