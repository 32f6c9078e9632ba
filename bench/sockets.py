"""Bytes that went through the TCP sockets of a process, as the kernel counts them (TCP_INFO by way of sock_diag)."""

from __future__ import annotations

import os
import re
import socket
import struct
from dataclasses import dataclass

_SOCK_DIAG = 4  # NETLINK_SOCK_DIAG.
_BY_FAMILY = 20
_REQUEST_DUMP = 0x301
_WITH_TCP_INFO = 1 << 1
_DONE, _ERROR = 3, 2
_MESSAGE = struct.Struct("=IHHII")
_ROW = 72  # Bytes of struct inet_diag_msg.
_ATTRIBUTE_TCP_INFO = 2
_BYTES_AT = 120  # Of tcpi_bytes_acked, which tcpi_bytes_received follows, in struct tcp_info.


@dataclass(frozen=True, slots=True)
class Connection:
    """A TCP socket and what it carried: payload without headers, and nothing that was sent twice."""

    inode: int
    local_port: int
    remote_port: int
    sent: int
    received: int


def connections_of(*processes: int) -> list[Connection]:
    """The open connections of these processes.

    Raises:
        OSError: the kernel has no sock_diag.
    """
    inodes = set().union(*map(_inodes, processes))
    found = [one for family in (socket.AF_INET, socket.AF_INET6) for one in _all_connections(family)]
    return [one for one in found if one.inode in inodes]


def carried(processes: list[int]) -> int:
    """Bytes in both directions over all open connections of the processes."""
    return sum(one.sent + one.received for one in connections_of(*processes))


def carried_within(processes: list[int], *, beside_local_port: int) -> int:
    """Bytes in both directions over all open connections of the processes but those of callers of a port of theirs."""
    return sum(one.sent + one.received for one in connections_of(*processes) if one.local_port != beside_local_port)


def carried_to(processes: list[int], port: int) -> int:
    """Bytes in both directions over open connections of the processes to a port."""
    return sum(one.sent + one.received for one in connections_of(*processes) if one.remote_port == port)


def _inodes(process: int) -> set[int]:
    folder = f"/proc/{process}/fd"
    found = set()
    for name in os.listdir(folder):
        try:
            link = os.readlink(f"{folder}/{name}")
        except FileNotFoundError:
            continue  # Closed meanwhile.
        if match := re.fullmatch(r"socket:\[(\d+)\]", link):
            found.add(int(match[1]))
    return found


def _all_connections(family: int) -> list[Connection]:
    request = struct.pack("=BBBxI48x", family, socket.IPPROTO_TCP, _WITH_TCP_INFO, 0xFFFFFFFF)
    header = _MESSAGE.pack(_MESSAGE.size + len(request), _BY_FAMILY, _REQUEST_DUMP, 1, 0)
    found: list[Connection] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as asked:
        asked.sendall(header + request)
        while True:
            data = asked.recv(1 << 20)
            at = 0
            while at < len(data):
                length, kind, *_ = _MESSAGE.unpack_from(data, at)
                if kind == _DONE:
                    return found
                if kind == _ERROR:
                    raise OSError("the kernel does not say what sockets carried (no sock_diag for TCP)")
                found.append(_connection(data[at + _MESSAGE.size : at + length]))
                at += -(-length // 4) * 4


def _connection(row: bytes) -> Connection:
    local, remote = struct.unpack_from("!HH", row, 4)
    inode = struct.unpack_from("=I", row, _ROW - 4)[0]
    at = _ROW
    sent = received = 0
    while at + 4 <= len(row):
        length, kind = struct.unpack_from("=HH", row, at)
        if kind == _ATTRIBUTE_TCP_INFO and length >= 4 + _BYTES_AT + 16:
            sent, received = struct.unpack_from("=QQ", row, at + 4 + _BYTES_AT)
        at += max(4, -(-length // 4) * 4)
    return Connection(inode, local, remote, sent, received)
