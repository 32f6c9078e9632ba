"""Addresses to listen on: whether one is free, asked before a server tries, in words that say what to do."""

from __future__ import annotations

import errno
import socket

from rowbank.addresses import split_address
from rowbank_server.settings import StartError


def require_free(setting: str, address: str) -> None:
    """Refuses an address that cannot be listened on.

    gRPC does not say why it cannot listen, and writes a line of its own to stderr, so it only gets what is free.

    Raises:
        StartError: another process listens there, or this machine has no such address.
    """
    listen(setting, address).close()


def listen(setting: str, address: str) -> socket.socket:
    """A socket that listens on `address`. Raises StartError, as `require_free`."""
    host, port = split_address(address)
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise cannot(setting, address, error) from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen()
    except OSError as error:
        listener.close()
        raise cannot(setting, address, error) from None
    return listener


def reserve(setting: str, address: str) -> socket.socket:
    """A socket that holds `address` for several processes, without listening: each of them binds to it with
    SO_REUSEPORT. Raises StartError, as `require_free`."""
    with listen(setting, address) as probe:  # Without that option, so that it is not shared with somebody else's.
        where = probe.getsockname()
    holder = socket.socket(probe.family, socket.SOCK_STREAM)
    try:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(where)
    except OSError as error:
        holder.close()
        raise cannot(setting, address, error) from None
    return holder


def shown(bound: socket.socket) -> str:
    """HOST:PORT or [IPV6]:PORT of a socket."""
    host, port = bound.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def cannot(setting: str, address: str, error: OSError) -> StartError:
    """The error of an address that cannot be listened on."""
    _, port = split_address(address)
    if error.errno == errno.EADDRINUSE:
        why = f"port {port} is in use; stop what listens there or choose another port (0: any free one)"
    elif error.errno == errno.EACCES:
        why = f"port {port} needs the rights of root; choose one from 1024 on"
    elif isinstance(error, socket.gaierror):
        why = "no such host; expected an address of this machine, such as 127.0.0.1"
    elif error.errno == errno.EADDRNOTAVAIL:
        why = "this machine has no such address; expected one of its own, such as 127.0.0.1"
    else:
        why = f"cannot listen there: {error.strerror or error}"
    return StartError(f"{setting} {address}: {why}")
