"""What a process serves TLS with: its certificate, read again when it changes, for gRPC and for HTTP."""

from __future__ import annotations

import logging
import os
import ssl
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone

import grpc
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from rowbank.secure import certificates
from rowbank.secure.certificates import CertificateError
from rowbank_server.settings import SettingsError
from rowbank_server.settings.security import SecuritySettings

_log = logging.getLogger("rowbank.tls")
_LOOK_S = 1.0  # Between two looks at the files.
_SETTLE_S = 0.1


@dataclass(frozen=True, slots=True, repr=False)
class _Served:
    """What the files held at one moment.

    Attributes:
        context: of TLS for HTTP.
        not_after: when the first of its certificates expires.
    """

    certificate: bytes
    key: bytes
    client_cas: bytes | None
    context: ssl.SSLContext
    not_after: datetime


class ServedTls(Collector):
    """The certificate of a process. Threads may share it.

    Files that cannot be used, as they are while somebody replaces one after the other, change nothing: what was read
    before goes on being served, and that is logged once and counted.

    Raises:
        SettingsError: the files cannot be used now.
    """

    def __init__(self, settings: SecuritySettings) -> None:
        self._paths = (settings.tls_certificate, settings.tls_key, settings.tls_client_ca)
        self._lock = threading.Lock()
        self._failures = 0
        self._failed_handshakes = 0
        self._stamp = self._look()
        self._look_at = time.monotonic() + _LOOK_S
        try:
            self._served = _read(*self._paths)
        except CertificateError as error:
            raise SettingsError(f"settings tls_certificate, tls_key, tls_client_ca: {error}") from None
        self._front = _context(self._paths[0], self._paths[1], self._served.client_cas)
        self._front.sni_callback = self._turn
        if self._served.not_after < datetime.now(timezone.utc):
            _log.warning("%s expired at %s; callers refuse it", self._paths[0], self._served.not_after)

    def for_grpc(self) -> grpc.ServerCredentials:
        """Credentials of a gRPC server, of `grpc.aio` too; each handshake goes by the files as they are then.

        gRPC asks for news under a lock and goes on to the handshake without it, while whoever asks next may have what
        that needs replaced and freed: so it hears of a change once, and not before handshakes that have begun are on.
        """
        given = self._served

        def news() -> grpc.ServerCertificateConfiguration | None:
            nonlocal given
            served = self._current()
            if served is given:
                return None
            time.sleep(_SETTLE_S)  # Nobody else begins a handshake meanwhile.
            given = served
            return _grpc_configuration(served)

        credentials: grpc.ServerCredentials = grpc.dynamic_ssl_server_credentials(
            _grpc_configuration(given),
            news,  # type: ignore[arg-type]  # None stands for no change, which gRPC's stubs do not know.
            require_client_authentication=self.asks_for_certificates,
        )
        return credentials

    @property
    def asks_for_certificates(self) -> bool:
        """Whether clients have to show one."""
        return bool(self._paths[2])

    def for_http(self) -> ssl.SSLContext:
        """The context of an HTTP server; each handshake goes by the files as they are then.

        With `tls_client_ca`, a client may show a certificate, which then has to be a good one; what is served to those
        that show none is up to `RequireCertificate`.
        """
        return self._front

    def handshake_failed(self) -> None:
        """Counts a connection that ended in its handshake."""
        with self._lock:
            self._failed_handshakes += 1

    def collect(self) -> Iterable[Metric]:
        served = self._current()
        yield GaugeMetricFamily(
            "rowbank_tls_certificate_not_after_timestamp_seconds",
            "When the certificate that is served expires.",
            value=served.not_after.timestamp(),
        )
        yield CounterMetricFamily(
            "rowbank_tls_reload_failures_total",
            "New certificates that could not be used, so that the ones before are still served.",
            value=self._failures,
        )
        yield CounterMetricFamily(
            "rowbank_tls_handshake_failures_total",
            "Connections over HTTP that ended in their handshake; gRPC does not tell its own.",
            value=self._failed_handshakes,
        )

    def _turn(self, line: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        """Called by OpenSSL within each handshake, whether or not a client names a host."""
        line.context = self._current().context

    def _current(self) -> _Served:
        with self._lock:
            if time.monotonic() < self._look_at:
                return self._served
            self._look_at = time.monotonic() + _LOOK_S
            stamp = self._look()
            if stamp == self._stamp:
                return self._served
            self._stamp = stamp
            try:
                self._served = _read(*self._paths)
            except CertificateError as error:
                self._failures += 1
                _log.error("the new certificate cannot be used, and the one before is still served: %s", error)
            else:
                _log.info("serving the new certificate of %s, until %s", self._paths[0], self._served.not_after)
            return self._served

    def _look(self) -> tuple[tuple[int, ...], ...]:
        return tuple(_stamp(path) for path in self._paths if path)


def served_tls(settings: SecuritySettings) -> ServedTls | None:
    """What `settings` say to serve with; None: plaintext.

    Raises:
        SettingsError: they do not go together, or a file cannot be used.
    """
    if bool(settings.tls_certificate) != bool(settings.tls_key):
        given, missing = ("tls_certificate", "tls_key") if settings.tls_certificate else ("tls_key", "tls_certificate")
        raise SettingsError(
            f"setting {missing} (ROWBANK_{missing.upper()}): expected a PEM file, as {given} is set, got none"
        )
    if settings.tls_client_ca and not settings.tls_certificate:
        raise SettingsError(
            "setting tls_client_ca (ROWBANK_TLS_CLIENT_CA): expected with tls_certificate and tls_key, which are "
            "not set"
        )
    return ServedTls(settings) if settings.tls_certificate else None


def _read(certificate_path: str, key_path: str, client_ca_path: str) -> _Served:
    """Raises CertificateError."""
    certificate, key = certificates.read(certificate_path), certificates.read(key_path)
    certificates.require_pair(certificate_path, key_path)
    client_cas = None
    if client_ca_path:
        client_cas = certificates.read(client_ca_path)
        certificates.require_cas(client_cas, client_ca_path)
    try:
        context = _context(certificate_path, key_path, client_cas)
    except (OSError, ValueError) as error:
        raise CertificateError(f"{certificate_path}, {key_path}: cannot be used ({error})") from None
    if (certificate, key) != (certificates.read(certificate_path), certificates.read(key_path)):
        raise CertificateError(f"{certificate_path}, {key_path}: changed while they were read")
    _, not_after = certificates.validity(certificate)
    return _Served(certificate, key, client_cas, context, not_after)


def _context(certificate_path: str, key_path: str, client_cas: bytes | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(certificate_path, key_path)
    if client_cas is not None:
        context.load_verify_locations(cadata=client_cas.decode("ascii"))
        context.verify_mode = ssl.CERT_OPTIONAL
        # A session that is taken up again would pass by a CA that is not trusted any more.
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
    return context


def _grpc_configuration(served: _Served) -> grpc.ServerCertificateConfiguration:
    configuration: grpc.ServerCertificateConfiguration = grpc.ssl_server_certificate_configuration(
        [(served.key, served.certificate)], served.client_cas
    )
    return configuration


def _stamp(path: str) -> tuple[int, ...]:
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return found.st_ino, found.st_mtime_ns, found.st_size
