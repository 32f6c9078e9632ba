"""What a client's TLS is made of, read from its files and noticed when they change."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from rowbank.credentials import SYSTEM, Credentials
from rowbank.errors import InvalidRequest
from rowbank.secure import certificates
from rowbank.secure.certificates import CertificateError

# How long files that were written just now may take to belong together.
_PATIENCE_S, _LOOK_S, _NEW_S = 1.0, 0.05, 2.0


@dataclass(frozen=True, slots=True, repr=False)
class Material:
    """PEM texts: whom a client trusts, and the certificate and key that it shows, if it has one."""

    cas: bytes
    certificate: bytes | None = None
    key: bytes | None = None


def load(credentials: Credentials) -> Material | None:
    """What the files hold now; None: plaintext.

    Raises:
        InvalidRequest: a file cannot be read or is not what it should be, or the settings do not go together.
    """
    _require_together(credentials)
    if not credentials.ca_file:
        return None
    try:
        if credentials.ca_file == SYSTEM:
            cas = certificates.system_cas()
        else:
            cas = certificates.read(credentials.ca_file)
            certificates.require_cas(cas, credentials.ca_file)
    except CertificateError as error:
        raise InvalidRequest(f"ca_file (ROWBANK_TLS_CA) {error}") from None
    if not (credentials.certificate_file and credentials.key_file):
        return Material(cas)
    try:
        return Material(cas, *_pair(credentials.certificate_file, credentials.key_file))
    except CertificateError as error:
        raise InvalidRequest(f"certificate_file, key_file (ROWBANK_TLS_CERTIFICATE, ROWBANK_TLS_KEY) {error}") from None


def stamp(credentials: Credentials) -> tuple[tuple[int, ...], ...]:
    """Something that is another when a file is; a file that is away counts as one."""
    paths = (credentials.ca_file, credentials.certificate_file, credentials.key_file)
    return tuple(_stamp(path) for path in paths if path and path != SYSTEM)


def _stamp(path: str) -> tuple[int, ...]:
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return found.st_ino, found.st_mtime_ns, found.st_size


def _pair(certificate_file: str, key_file: str) -> tuple[bytes, bytes]:
    """Certificate and key that belong together. Files that were written just now are given a moment to do so: whoever
    renews them replaces one after the other."""
    until = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return _pair_now(certificate_file, key_file)
        except CertificateError:
            is_new = any(_is_new(path) for path in (certificate_file, key_file))
            if not is_new or time.monotonic() > until:
                raise
        time.sleep(_LOOK_S)


def _is_new(path: str) -> bool:
    try:
        return abs(time.time() - os.stat(path).st_mtime) < _NEW_S
    except OSError:
        return False


def _pair_now(certificate_file: str, key_file: str) -> tuple[bytes, bytes]:
    """Certificate and key of the same moment: what was checked is what is used."""
    certificate, key = certificates.read(certificate_file), certificates.read(key_file)
    certificates.require_pair(certificate_file, key_file)
    if (certificate, key) != (certificates.read(certificate_file), certificates.read(key_file)):
        raise CertificateError(f"{certificate_file}, {key_file}: are being replaced; try again")
    return certificate, key


def _require_together(credentials: Credentials) -> None:
    if bool(credentials.certificate_file) != bool(credentials.key_file):
        raise InvalidRequest(
            "credentials: expected certificate_file and key_file together (ROWBANK_TLS_CERTIFICATE, ROWBANK_TLS_KEY), "
            f"got {credentials.certificate_file or credentials.key_file!r} alone"
        )
