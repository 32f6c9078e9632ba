"""What only a client can find out: who does not answer, clocks, versions, certificates as they are shown."""

from __future__ import annotations

import datetime
import os
import socket
import ssl
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rowbank.addresses import split_address
from rowbank.credentials import SYSTEM, Credentials

if TYPE_CHECKING:
    from rowbank.admin import ShardProcess
    from rowbank.calls.servers import Server
    from rowbank.diagnosis import Diagnosis, Finding

_SKEW_S = 2.0
_SOON_D, _NOW_D = 21.0, 3.0  # Before a certificate expires.
_HANDSHAKE_S = 2.0


@dataclass(frozen=True, slots=True)
class Asked:
    """When a diagnosis was asked for and answered, Unix seconds by this machine's clock."""

    sent_s: float
    received_s: float


def of_processes(processes: Sequence[ShardProcess]) -> Iterator[Finding]:
    """Who answers, and whether every shard has an owner."""
    from rowbank.diagnosis import Finding

    away = [one for one in processes if not one.answers]
    for one in away:
        yield Finding(
            "process",
            "fail",
            f"{one.address} (shard {one.shard}) {one.state}",
            "start it, or mend the network between; its log says more",
        )
    owned = {one.shard for one in processes if one.answers and one.role == "owner"}
    unowned = sorted({one.shard for one in processes} - owned)
    for shard in unowned:
        remedy = "start its process, or a standby"
        yield Finding("process", "fail", f"shard {shard} has no owner: its rows are not answered", remedy)
    if not away and not unowned:
        yield Finding("process", "ok", f"all {len(processes)} answer")


def of_versions(processes: Sequence[ShardProcess], own: str) -> Finding:
    """Whether all run the same version."""
    from rowbank.diagnosis import Finding

    versions = {f"{one.address} {one.version}" for one in processes if one.version and one.version != own}
    if versions:
        detail = f"this client is {own}; others: {', '.join(sorted(versions))}"
        return Finding("versions", "warn", detail, "install the same version everywhere, servers first")
    alone = not any(one.version for one in processes)
    return Finding("versions", "ok", f"this client is {own}" if alone else f"all are {own}")


def of_native(server: Server) -> Finding:
    """Whether this machine reaches the native endpoint of a process that has answered."""
    from rowbank.diagnosis import Finding

    check, lines = "native endpoint", server.lines
    why_not = lines.why_not or ("" if lines.address else "the server does not say where it is reached")
    if why_not:
        return Finding(check, "ok", f"not used: {why_not}; the main address answers everything")
    line = lines.take(_HANDSHAKE_S)
    if line is None:
        detail = f"{lines.address} cannot be reached from here; requests for rows go the slower way"
        remedy = "let this machine through to that port (native_bind makes it a fixed one), or set native_bind to off"
        return Finding(check, "warn", detail, remedy)
    lines.give_back(line)
    return Finding(check, "ok", f"requests for rows go to {lines.address}")


def of_clock(diagnosis: Diagnosis, asked: Asked) -> Finding:
    """Whether the server's clock is within what the time of the call allows."""
    from rowbank.diagnosis import Finding

    server_s = diagnosis.at_ms / 1e3
    skew_s = min(server_s - asked.sent_s, 0.0) + max(server_s - asked.received_s, 0.0)
    if abs(skew_s) > _SKEW_S:
        detail = f"{abs(skew_s):.1f} s {'ahead of' if skew_s > 0 else 'behind'} this machine's"
        return Finding("clock", "warn", detail, "let both machines follow the same time servers (NTP)")
    return Finding("clock", "ok", f"as this machine's, within {_SKEW_S:g} s")


def of_token(credentials: Credentials) -> Iterator[Finding]:
    """Whether others of this machine can read the token."""
    from rowbank.diagnosis import Finding

    if credentials.token_file is None:
        return
    try:
        mode = os.stat(credentials.token_file).st_mode
    except OSError as error:
        detail = f"{credentials.token_file}: {error.strerror or error}"
        yield Finding("token", "fail", detail, "name a file that exists in ROWBANK_TOKEN_FILE")
        return
    if stat.S_IMODE(mode) & 0o077:
        detail = f"{credentials.token_file} can be read by others of this machine"
        yield Finding("token", "warn", detail, f"chmod 600 {credentials.token_file}")
    else:
        yield Finding("token", "ok", f"{credentials.token_file} is its owner's alone")


def of_certificate(address: str, credentials: Credentials) -> Finding:
    """The certificate that a server shows, and how long it is valid."""
    from rowbank.diagnosis import Finding

    try:
        expires = _expiry(address, credentials)
    except (OSError, ValueError) as error:
        text = getattr(error, "verify_message", "") or str(error)
        remedy = "see docs/security.md: which CA, which name, which certificate is expected"
        return Finding("certificate", "fail", f"{address}: {text}", remedy)
    left_d = (expires - datetime.datetime.now(datetime.timezone.utc)).total_seconds() / 86400
    detail = f"{address}: valid until {expires:%Y-%m-%d %H:%MZ}, {left_d:.0f} days"
    remedy = "put a new one in the place of the files; it is taken up without a restart"
    return Finding("certificate", "fail" if left_d < _NOW_D else "warn" if left_d < _SOON_D else "ok", detail,
                   remedy if left_d < _SOON_D else "")  # fmt: skip


def _expiry(address: str, credentials: Credentials) -> datetime.datetime:
    """When the certificate at `address` ends. Raises OSError where the handshake fails."""
    host, port = split_address(address)
    host = host.strip("[]")
    context = ssl.create_default_context(cafile=None if credentials.ca_file == SYSTEM else credentials.ca_file)
    context.set_alpn_protocols(["h2"])
    if credentials.certificate_file:
        context.load_cert_chain(credentials.certificate_file, credentials.key_file)
    with (
        socket.create_connection((host, port), timeout=_HANDSHAKE_S) as plain,
        context.wrap_socket(plain, server_hostname=credentials.server_name or host) as secured,
    ):
        certificate = secured.getpeercert() or {}
    ends_s = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
    return datetime.datetime.fromtimestamp(ends_s, datetime.timezone.utc)
