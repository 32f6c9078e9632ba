"""Settings of what protects a process on a network: certificates, tokens, whom it trusts.

The client's variables have the same names and the same meaning: who I am, whom I trust, which token I show.
"""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings

from rowbank_server.settings.naming import shared_name


class SecuritySettings(BaseSettings):
    """The same for all processes."""

    tls_certificate: str = Field(
        "",
        validation_alias=shared_name("tls_certificate"),
        description="PEM file of this process's certificate, with the certificates between it and its CA; with it, "
        "gRPC and HTTP are served over TLS, and it is shown to other servers. Read again when it changes.",
    )
    tls_key: str = Field(
        "",
        validation_alias=shared_name("tls_key"),
        description="PEM file of the private key of `tls_certificate`. Read again when it changes.",
    )
    tls_client_ca: str = Field(
        "",
        validation_alias=shared_name("tls_client_ca"),
        description="PEM file of CAs; with it, callers have to show a certificate signed by one of them (mutual TLS).",
    )
    tls_ca: str = Field(
        "",
        validation_alias=shared_name("tls_ca"),
        description="PEM file of CAs that certificates of other servers are checked with, or `system` for those of the "
        "machine; with it, this process connects to them over TLS.",
    )
    tls_server_name: str = Field(
        "",
        validation_alias=shared_name("tls_server_name"),
        description="Name that certificates of other servers must have, where it is not the host of their address.",
    )
    token_file: str = Field(
        "",
        validation_alias=shared_name("token_file"),
        description="File with the token that this process shows to other servers. Read again when it changes.",
    )
    require_tokens: bool = Field(
        False,
        validation_alias=shared_name("require_tokens"),
        description="Answer only callers with a token whose role allows what they ask for.",
    )
    audit_file: str = Field(
        "",
        validation_alias=shared_name("audit_file"),
        description="File to which each call that steers, and each that is refused for its token, adds a line of JSON "
        "while tokens are required; empty: standard error.",
    )
    admin_token_file: str = Field(
        "",
        validation_alias=shared_name("admin_token_file"),
        description="File with one token that has the role admin, to make the first ones with; `up` makes one.",
    )
