"""The connection of a process that follows to the owner."""

from __future__ import annotations

import grpc

from rowbank.credentials import Credentials
from rowbank.secure import channels

_MIB = 1 << 20

# As clients have them; rowbank.calls is not for the server. No keepalive: an owner says something all the time.
_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", -1),  # A record is as large as it is; more than one come in small messages.
    ("grpc.experimental.tcp_read_chunk_size", _MIB),
    ("grpc.experimental.tcp_min_read_chunk_size", 256 * 1024),
    ("grpc.experimental.tcp_max_read_chunk_size", 4 * _MIB),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.use_local_subchannel_pool", 1),  # A new channel is a new connection.
)


def open_channel(address: str, credentials: Credentials) -> grpc.Channel:
    """A channel to one owner; it connects when it is first used. Raises InvalidRequest, as the client's do."""
    return channels.open_channel(address, credentials, _OPTIONS)
