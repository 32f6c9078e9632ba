"""Why no connection comes about, in words that say what to do.

Problem: where both ends disagree about TLS, gRPC says little, and something else in every version. Idea: when it failed
in a way that may be such a disagreement, one connection is made by Python's own TLS, which knows the reason. It sends
nothing but the handshake: no token, no request.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from rowbank.credentials import SYSTEM, Credentials
from rowbank.errors import InvalidRequest
from rowbank.secure import certificates, material

# What gRPC says where TLS may be the reason, by a part of it.
_SUSPECT = (
    "andshake failed",
    "Hostname Verification",
    "verification check failed",
    "not in peer certificate",
    "Socket closed",
    "Connection reset",
    "End of TCP stream",
    "recvmsg",
    "Broken pipe",
    "GOAWAY",
)
_TIMEOUT_S = 1.0
_REFUSAL_S = 0.5  # How long a server that asks for a certificate may take to say so, after the handshake.
# OpenSSL's numbers of what is wrong with a certificate.
_EXPIRED, _NOT_YET_VALID, _OTHER_HOST, _OTHER_ADDRESS = 10, 9, 62, 64


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong: a word for programs, and a sentence."""

    cause: str
    text: str


def may_be_tls(details: str) -> bool:
    """Whether what gRPC says of a failed call may mean that the two ends disagree about TLS."""
    return any(words in details for words in _SUSPECT)


def explain(target: str, credentials: Credentials) -> Finding | None:
    """What is wrong between this client and the server at `target`; None: nothing that TLS is to blame for.

    Takes two seconds at most.
    """
    try:
        if not credentials.ca_file:
            return _TLS_SPOKEN if _speaks_tls(target) else None
        return _look(target, credentials)
    except (OSError, InvalidRequest, ValueError):
        return None


_TLS_SPOKEN = Finding(
    "tls_spoken",
    "TLS is spoken there, and this client speaks plain text; name the CA of the server's certificate: ca_file of "
    "Credentials, or the variable ROWBANK_TLS_CA",
)
_NOT_SPOKEN = Finding(
    "tls_not_spoken",
    "no TLS is spoken there, and this client speaks nothing else; give the server a certificate (tls_certificate), or "
    "leave out ca_file and ROWBANK_TLS_CA",
)
_WANTED = Finding(
    "certificate_wanted",
    "the server asks for a client certificate, and this client has none; name certificate_file and key_file of "
    "Credentials (ROWBANK_TLS_CERTIFICATE, ROWBANK_TLS_KEY)",
)


def _look(target: str, credentials: Credentials) -> Finding | None:
    context = _context(credentials)
    with _connected(target) as (plain, host):
        try:
            with context.wrap_socket(plain, server_hostname=credentials.server_name or host) as line:
                return _refusal(line, credentials)
        except ssl.SSLCertVerificationError as error:
            return _of_certificate(error, target, credentials, host)
        except ssl.SSLError as error:
            if _is_alert(error):
                return _of_alert(error, credentials)
            return _NOT_SPOKEN if not isinstance(error, ssl.SSLEOFError) else None


def _refusal(line: ssl.SSLSocket, credentials: Credentials) -> Finding | None:
    """What the server says after the handshake, which is where TLS 1.3 looks at a client's certificate."""
    line.settimeout(_REFUSAL_S)
    try:
        said = line.recv(1)
    except TimeoutError:
        return None
    except ssl.SSLError as error:
        return _of_alert(error, credentials) if _is_alert(error) else None
    except ConnectionError:
        said = b""
    if said:
        return None
    # A server that closes at once, without a word, did not like who came.
    return _refused("without saying why", credentials) if credentials.certificate_file else _WANTED


def _of_alert(error: ssl.SSLError, credentials: Credentials) -> Finding:
    reason = str(error.reason or "").lower().replace("_", " ")
    if not credentials.certificate_file:
        return _WANTED
    return _refused(f"({reason.partition('alert ')[2] or reason})", credentials)


def _refused(why: str, credentials: Credentials) -> Finding:
    return Finding(
        "certificate_refused",
        f"the server refuses this client's certificate {credentials.certificate_file} {why}; expected one that is "
        "valid now and signed by a CA that the server names (tls_client_ca)",
    )


def _of_certificate(
    error: ssl.SSLCertVerificationError, target: str, credentials: Credentials, host: str
) -> Finding | None:
    code, name = error.verify_code, credentials.server_name or host
    if code in (_EXPIRED, _NOT_YET_VALID):
        times = _times(target)
        if code == _EXPIRED:
            when = f" at {times[1]:%Y-%m-%d %H:%M} UTC" if times else ""
            return Finding("expired", f"the server's certificate, or that of its CA, expired{when}; renew it there")
        when = f" before {times[0]:%Y-%m-%d %H:%M} UTC" if times else ""
        return Finding(
            "not_yet_valid",
            f"the server's certificate, or that of its CA, is not valid yet{when}; compare the clocks of both machines",
        )
    if code in (_OTHER_HOST, _OTHER_ADDRESS):
        return Finding(
            "other_host",
            f"the server's certificate is for another host than {name!r}; use a name that is in it, or give that name "
            "as server_name (ROWBANK_TLS_SERVER_NAME)",
        )
    trusted = "those that this machine trusts" if credentials.ca_file == SYSTEM else f"those in {credentials.ca_file}"
    return Finding(
        "unknown_ca",
        f"the server's certificate is not signed by a CA of {trusted}; name the file of the CA that signed it: ca_file "
        "of Credentials, or the variable ROWBANK_TLS_CA",
    )


def _is_alert(error: ssl.SSLError) -> bool:
    return "ALERT" in str(error.reason or "")


def _speaks_tls(target: str) -> bool:
    with _connected(target) as (plain, host):
        try:
            _trusting_context().wrap_socket(plain, server_hostname=host or "localhost").close()
        except ssl.SSLError as error:
            return _is_alert(error)
        return True


def _times(target: str) -> tuple[datetime, datetime] | None:
    with contextlib.suppress(OSError, ValueError), _connected(target) as (plain, host):
        with _trusting_context().wrap_socket(plain, server_hostname=host or "localhost") as line:
            return certificates.validity_of(line.getpeercert(binary_form=True) or b"")
    return None


def _context(credentials: Credentials) -> ssl.SSLContext:
    """What checks as gRPC does. Raises InvalidRequest, ssl.SSLError."""
    found = material.load(credentials)
    assert found is not None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=found.cas.decode("ascii"))
    context.set_alpn_protocols(["h2"])
    if credentials.certificate_file:
        context.load_cert_chain(credentials.certificate_file, credentials.key_file)
    return context


def _trusting_context() -> ssl.SSLContext:
    """For a look at the other end: over what it makes, nothing is sent and nothing believed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context


@contextlib.contextmanager
def _connected(target: str) -> Iterator[tuple[socket.socket, str]]:
    """A connection, and the host as certificates name it. Raises OSError."""
    if target.startswith("unix:"):
        line, host = socket.socket(socket.AF_UNIX), "localhost"
        line.settimeout(_TIMEOUT_S)
        with line:
            line.connect(target.removeprefix("unix:").replace("///", "/", 1))
            yield line, host
        return
    name, _, port = target.rpartition(":")
    host = name.strip("[]")
    with socket.create_connection((host, int(port)), timeout=_TIMEOUT_S) as line:
        yield line, host
