"""Which addresses a process may listen on."""

from __future__ import annotations

from collections.abc import Mapping

from rowbank_server.settings import RedisSettings, SettingsError, is_loopback


def require_private(settings: RedisSettings, addresses: Mapping[str, str]) -> None:
    """Refuses addresses that other machines can reach, unless what goes over them is protected or that is meant.

    Args:
        addresses: HOST:PORT by the setting; empty ones are off.
    Raises:
        SettingsError: one can be reached, and TLS or tokens are missing, and `insecure` is not set.
    """
    missing = []
    if not settings.tls_certificate:
        missing.append("TLS (settings tls_certificate, tls_key)")
    if not settings.require_tokens:
        missing.append("tokens (setting require_tokens)")
    if settings.insecure or not missing:
        return
    for name, address in addresses.items():
        if address and not is_loopback(address):
            raise SettingsError(
                f"{name} {address} can be reached from other machines, and needs {' and '.join(missing)}; set "
                f"{'them' if len(missing) > 1 else 'it'}, bind to 127.0.0.1, or pass --insecure if the network is "
                "trusted"
            )
