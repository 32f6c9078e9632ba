"""Certificates and keys in PEM files: read, checked, and how long they are valid."""

from __future__ import annotations

import os
import re
import ssl
from datetime import datetime, timezone

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
# Tags of DER.
_VERSION, _UTC_TIME = 0xA0, 0x17
# Where systems keep the CAs that they trust, if OpenSSL's own answer is none.
_SYSTEM_FILES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


class CertificateError(ValueError):
    """A file cannot be read or is not what it should be; the text names it and says what is wrong."""


def read(path: str) -> bytes:
    """The bytes of a file. Raises CertificateError."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise CertificateError(f"{path}: cannot be read ({error.strerror or error})") from None


def system_cas() -> bytes:
    """The CAs that this machine trusts, as PEM. Raises CertificateError."""
    paths = ssl.get_default_verify_paths()
    for path in (os.environ.get(paths.openssl_cafile_env), paths.cafile, *_SYSTEM_FILES):
        if path and os.path.isfile(path):
            return read(path)
    raise CertificateError(
        "system: this machine has no file of trusted CAs (on Debian: apt-get install ca-certificates); name a PEM file"
    )


def require_cas(data: bytes, path: str) -> None:
    """Refuses what holds no certificate. Raises CertificateError."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=data.decode("ascii"))
    except (ssl.SSLError, UnicodeDecodeError, ValueError):
        raise CertificateError(f"{path}: expected certificates in PEM form, found none that can be read") from None


def require_pair(certificate: str, key: str) -> None:
    """Refuses files that hold no certificate with its key. Raises CertificateError."""
    read(certificate)
    read(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except _EncryptedKeyError:
        raise CertificateError(f"{key}: the key is encrypted; give one without a password") from None
    except ssl.SSLError as error:
        if "KEY_VALUES_MISMATCH" in str(error):
            raise CertificateError(f"{key}: the key does not belong to the certificate {certificate}") from None
        raise CertificateError(
            f"{certificate}, {key}: expected a certificate and its private key in PEM form ({error.reason or error})"
        ) from None
    except (OSError, ValueError) as error:
        raise CertificateError(f"{certificate}, {key}: cannot be used ({error})") from None


def validity(pem: bytes) -> tuple[datetime, datetime]:
    """From when until when the first certificate of a file is valid. Raises CertificateError."""
    found = _PEM.search(pem.decode("ascii", "replace"))
    if found is None:
        raise CertificateError("expected a certificate in PEM form, found none")
    return validity_of(ssl.PEM_cert_to_DER_cert(found[0]))


def validity_of(der: bytes) -> tuple[datetime, datetime]:
    """As `validity`, of a certificate as it travels."""
    try:
        (_, certificate), *_ = _children(der)
        (_, fields), *_ = _children(certificate)
        parts = [part for part in _children(fields) if part[0] != _VERSION]
        # Serial number, signature algorithm, issuer, validity.
        first, last = _children(parts[3][1])
        return _time(*first), _time(*last)
    except (IndexError, ValueError):
        raise CertificateError("the certificate cannot be read") from None


class _EncryptedKeyError(Exception):
    """Somebody would have to type a password."""


def _no_password() -> str:
    raise _EncryptedKeyError


def _children(data: bytes) -> list[tuple[int, bytes]]:
    """(tag, content) of the values in `data`, which is DER. Raises IndexError."""
    found, at = [], 0
    while at < len(data):
        tag, length, at = data[at], data[at + 1], at + 2
        if length & 0x80:
            count = length & 0x7F
            length = int.from_bytes(data[at : at + count], "big")
            at += count
        if at + length > len(data):
            raise IndexError(at)
        found.append((tag, data[at : at + length]))
        at += length
    return found


def _time(tag: int, content: bytes) -> datetime:
    text = content.decode("ascii")
    if tag == _UTC_TIME:  # Two digits of the year: from 1950 to 2049.
        text = ("20" if int(text[:2]) < 50 else "19") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=timezone.utc)
