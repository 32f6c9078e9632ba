"""Addresses as people write them: HOST:PORT for servers to listen on, targets for clients to connect to.

One reading of both, so that `--target`, `--targets`, `ROWBANK_TARGETS`, `Client(...)` and every `--bind` accept and
refuse the same. gRPC's own reading takes a missing port for 443 and counts ports modulo 65536.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

PS_PORT = 7700
API_PORT = 7780
API_GRPC_PORT = 7781
_OR = "|"  # Between the addresses of processes of one shard.
_FORM = re.compile(r"(?P<host>\[[^\]\s]*\]|[^\s:\[\]/@?#|]*)(?::(?P<port>[^:]*))?")
_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>.*)")


class AddressError(ValueError):
    """What was written is no address; the text says what was got and what to write instead."""


def split_address(address: str, *, default_port: int | None = None, lowest_port: int = 0) -> tuple[str, int]:
    """Host, with brackets where it is of IPv6, and port of "127.0.0.1:7700" or "[::1]:7700".

    Args:
        default_port: taken where none is written; None: a port must be written.
        lowest_port: 0 where a free port may be asked for, else 1.
    Raises:
        AddressError: it is not of that form.
    """
    example = default_port or PS_PORT
    form = f"HOST:PORT with a port from {lowest_port} to 65535, such as 127.0.0.1:{example}"

    def wrong(hint: str) -> AddressError:
        return AddressError(f"expected {form}, got {address!r}{hint and f': {hint}'}")

    scheme = _SCHEME.fullmatch(address)
    if scheme is not None:
        rest = scheme["rest"].split("/")[0].rpartition("@")[2]
        raise wrong(f"leave out {scheme['scheme']}://" + (f" and write {rest}" if rest else ""))
    if address.count(":") > 1 and not address.startswith("["):
        host, _, port = address.rpartition(":")
        if not (_is_ipv6(host) and port.isdigit()):
            host, port = address, str(example)
        raise wrong(f"an IPv6 address stands in brackets: [{host}]:{port}" if _is_ipv6(host) else "")
    match = _FORM.fullmatch(address)
    if match is None:
        raise wrong("")
    host, port = match["host"], match["port"]
    if port is None and host.isascii() and host.isdigit():
        raise wrong(f"a number alone names no host; write 127.0.0.1:{host}")
    if not host:
        raise wrong("the host is missing")
    if host.startswith("[") and not _is_ipv6(host[1:-1]):
        raise wrong(f"{host} is no IPv6 address")
    if re.fullmatch(r"[0-9.]+", host) and not _is_ipv4(host):
        raise wrong(f"{host} is no IPv4 address")
    if port is None:
        if default_port is None:
            raise wrong("the port is missing")
        return host, default_port
    if not re.fullmatch(r"[0-9]{1,5}", port) or not lowest_port <= int(port) <= 65535:
        raise wrong("the port is missing" if not port else f"{port} is no such port")
    return host, int(port)


def parse_target(target: str, *, default_port: int = PS_PORT) -> str:
    """A server's address in full: "a" and "a:7700" are "a:7700", unix:PATH stays.

    Raises:
        AddressError: it is none.
    """
    text = target.strip()
    if text.startswith("unix:"):
        if not text.removeprefix("unix:").strip("/"):
            raise AddressError(f"expected unix:PATH of a socket, such as unix:/run/rowbank.sock, got {target!r}")
        return text
    host, port = split_address(text, default_port=default_port, lowest_port=1)
    return f"{host}:{port}"


def parse_targets(targets: str | Sequence[str], *, default_port: int = PS_PORT, alternatives: bool = True) -> list[str]:
    """Every target of "a:7700,b:7700" or of a list, its addresses in full, in the given order.

    Args:
        alternatives: whether a target may be several addresses of one shard, as in "a:7700|b:7700,c:7700|d:7700";
            `alternatives_of` gives them.
    Raises:
        AddressError: there is none, one is empty, none or named twice; the text begins with what was expected.
    """
    listed = isinstance(targets, Sequence) and not isinstance(targets, str)
    parts = targets.split(",") if isinstance(targets, str) else list(targets) if listed else []
    if not parts or not all(isinstance(part, str) and part.strip() for part in parts):
        raise AddressError(f"expected distinct addresses such as '127.0.0.1:{default_port}', got {targets!r}")
    result = [_parse_alternatives(part, default_port, allowed=alternatives) for part in parts]
    named = [one for target in result for one in alternatives_of(target)]
    twice = sorted({one for one in named if named.count(one) > 1})
    if twice:
        raise AddressError(f"expected distinct addresses, got {twice[0]!r} more than once")
    return result


def alternatives_of(target: str) -> list[str]:
    """The addresses of a target that `parse_targets` returned, in the order in which they were written."""
    return target.split(_OR)


def is_local(target: str) -> bool:
    """Whether a target, as `parse_target` gives it, is on this machine for certain: its loopback, or a socket file."""
    if target.startswith("unix:"):
        return True
    host = target.rpartition(":")[0].strip("[]").lower()
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _parse_alternatives(target: str, default_port: int, *, allowed: bool) -> str:
    parts = target.split(_OR)
    if len(parts) > 1 and not allowed:
        raise AddressError(f"expected addresses separated by commas, got {target!r}: these have no alternatives with |")
    if not all(part.strip() for part in parts):
        raise AddressError(
            f"expected an address on both sides of each |, such as 'a:{default_port}|b:{default_port}', got {target!r}"
        )
    return _OR.join(parse_target(part, default_port=default_port) for part in parts)


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True


def _is_ipv4(host: str) -> bool:
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True
