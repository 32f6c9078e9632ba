"""What a process of the server connects to other servers with."""

from __future__ import annotations

import os

from rowbank.credentials import SYSTEM, Credentials
from rowbank.secure import certificates
from rowbank.secure.certificates import CertificateError
from rowbank_server.settings import SettingsError
from rowbank_server.settings.security import SecuritySettings


def credentials(settings: SecuritySettings) -> Credentials:
    """Whom this process trusts, and what it shows of itself: its own certificate, and its token.

    Raises:
        SettingsError: a file cannot be used.
    """
    over_tls = bool(settings.tls_ca)
    _require_usable(settings)
    return Credentials(
        ca_file=settings.tls_ca or None,
        certificate_file=(over_tls and settings.tls_certificate) or None,
        key_file=(over_tls and settings.tls_key) or None,
        server_name=settings.tls_server_name or None,
        token=None if settings.token_file else os.environ.get("ROWBANK_TOKEN") or None,
        token_file=settings.token_file or None,
    )


def _require_usable(settings: SecuritySettings) -> None:
    try:
        if settings.tls_ca and settings.tls_ca != SYSTEM:
            certificates.require_cas(certificates.read(settings.tls_ca), settings.tls_ca)
    except CertificateError as error:
        raise SettingsError(f"setting tls_ca (ROWBANK_TLS_CA): {error}") from None
    try:
        if settings.token_file and not certificates.read(settings.token_file).strip():
            raise SettingsError(f"setting token_file (ROWBANK_TOKEN_FILE): {settings.token_file} is empty")
    except CertificateError as error:
        raise SettingsError(f"setting token_file (ROWBANK_TOKEN_FILE): {error}") from None
