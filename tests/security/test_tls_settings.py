"""Settings of encryption that do not go together, and addresses that a process must not listen on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.security.authority import Authority

from rowbank_server.security.binds import require_private
from rowbank_server.settings import PsSettings, SettingsError, load


def start(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rowbank_server", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--tls-certificate", "server.pem"], "tls_key (ROWBANK_TLS_KEY): expected a PEM file"),
        (["--tls-key", "server.key"], "tls_certificate (ROWBANK_TLS_CERTIFICATE): expected a PEM file"),
        (["--tls-client-ca", "ca.pem"], "tls_client_ca (ROWBANK_TLS_CLIENT_CA): expected with tls_certificate"),
        (["--tls-certificate", "server.pem", "--tls-key", "client.key"], "the key does not belong"),
        (["--tls-certificate", "none.pem", "--tls-key", "server.key"], "none.pem: cannot be read"),
        (["--tls-certificate", "server.pem", "--tls-key", "server.pem"], "expected a certificate and its private key"),
        (["--tls-ca", "none.pem"], "tls_ca (ROWBANK_TLS_CA): none.pem: cannot be read"),
        (["--tls-ca", "server.key"], "expected certificates in PEM form"),
        (["--token-file", "none"], "token_file (ROWBANK_TOKEN_FILE): none: cannot be read"),
    ],
)
def test_what_does_not_go_together(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, options: list[str], said: str
) -> None:
    monkeypatch.chdir(authority.folder)
    done = start("ps", "--redis", "redis://127.0.0.1:1", *options)
    assert (done.returncode, said in done.stderr, "Traceback" in done.stderr) == (2, True, False), done.stderr


def test_a_key_with_a_password(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(authority.folder)
    subprocess.run(
        ["openssl", "pkey", "-in", "server.key", "-aes128", "-passout", "pass:x", "-out", "locked.key"], check=True
    )
    done = start("ps", "--redis", "redis://127.0.0.1:1", "--tls-certificate", "server.pem", "--tls-key", "locked.key")
    assert (done.returncode, "the key is encrypted" in done.stderr) == (2, True), done.stderr


def test_up_needs_the_ca_of_its_certificate(authority: Authority, tmp_path: Path) -> None:
    options = authority.options()[:4]
    done = start("up", "--data-dir", str(tmp_path / "data"), *options)
    assert (done.returncode, "setting tls_ca (ROWBANK_TLS_CA)" in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize("role", ["ps", "api", "up"])
def test_every_process_refuses_to_be_reached_unprotected(role: str) -> None:
    setting = {"ps": "http-bind", "api": "grpc-bind", "up": "ps-http-bind"}[role]
    for option in ("grpc-bind" if role == "up" else "bind", setting):
        done = start(role, f"--{option}", "0.0.0.0:0", "--redis", "redis://127.0.0.1:1")
        assert done.returncode == 2, done.stderr
        assert f"{option.replace('-', '_')} 0.0.0.0:0 can be reached from other machines" in done.stderr


def test_the_native_endpoint_is_no_way_around_that() -> None:
    done = start("ps", "--native-bind", "0.0.0.0:0", "--redis", "redis://127.0.0.1:1")
    assert done.returncode == 2, done.stderr
    assert "native_bind 0.0.0.0:0 can be reached from other machines" in done.stderr


def test_what_is_missing_is_said() -> None:
    beyond = {"bind": "0.0.0.0:7700", "http_bind": ""}
    tls = {"tls_certificate": "a", "tls_key": "b"}
    for given, missing in (
        ({}, "needs TLS (settings tls_certificate, tls_key) and tokens (setting require_tokens); set them"),
        (tls, "needs tokens (setting require_tokens); set it"),
        ({"require_tokens": True}, "needs TLS (settings tls_certificate, tls_key); set it"),
    ):
        with pytest.raises(SettingsError) as failure:
            require_private(load(PsSettings, given), beyond)
        assert missing in str(failure.value)
        assert "--insecure" in str(failure.value)
    require_private(load(PsSettings, {**tls, "require_tokens": True}), beyond)
    require_private(load(PsSettings, {"insecure": True}), beyond)
    require_private(load(PsSettings, {}), {"bind": "127.0.0.1:7700", "http_bind": "[::1]:7782", "grpc_bind": ""})
