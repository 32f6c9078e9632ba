"""Who a client is, whom it trusts, and which token it shows."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SYSTEM = "system"  # As `ca_file`: the CAs that the machine trusts.


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What connections are made with. Files are read again when they change.

    Attributes:
        ca_file: PEM file of the CAs that servers' certificates are checked with, or "system" for the machine's own;
            None: plaintext.
        certificate_file, key_file: PEM files of the client's own certificate and key, for servers that ask for one.
        server_name: the name that servers' certificates must have, where it is not the host of their address.
        token: what is shown to servers as `authorization: Bearer TOKEN`.
        token_file: a file with the token, instead of `token`.

    A pickle holds the names of files and never a token: credentials with a literal `token` cannot be pickled.
    """

    ca_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None
    server_name: str | None = None
    token: str | None = field(default=None, repr=False)
    token_file: str | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Credentials:
        """What ROWBANK_TLS_CA, _TLS_CERTIFICATE, _TLS_KEY, _TLS_SERVER_NAME, ROWBANK_TOKEN and _TOKEN_FILE say."""
        given = os.environ if environment is None else environment
        return cls(
            ca_file=given.get("ROWBANK_TLS_CA") or None,
            certificate_file=given.get("ROWBANK_TLS_CERTIFICATE") or None,
            key_file=given.get("ROWBANK_TLS_KEY") or None,
            server_name=given.get("ROWBANK_TLS_SERVER_NAME") or None,
            token=given.get("ROWBANK_TOKEN") or None,
            token_file=given.get("ROWBANK_TOKEN_FILE") or None,
        )

    def __reduce__(self) -> Any:
        if self.token:
            raise pickle.PicklingError(
                "pickle: credentials with a literal token would write it to wherever the pickle goes; use token_file, "
                "or the variable ROWBANK_TOKEN where the pickle is read"
            )
        return _made, (self.ca_file, self.certificate_file, self.key_file, self.server_name, self.token_file)


def _made(
    ca_file: str | None,
    certificate_file: str | None,
    key_file: str | None,
    server_name: str | None,
    token_file: str | None,
) -> Credentials:
    return Credentials(
        ca_file=ca_file,
        certificate_file=certificate_file,
        key_file=key_file,
        server_name=server_name,
        token_file=token_file,
    )
