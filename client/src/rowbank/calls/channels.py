"""gRPC channels as every connection of a client has them."""

from __future__ import annotations

import os
from typing import cast

import grpc

from rowbank.credentials import Credentials
from rowbank.secure import channels

_MIB = 1 << 20

# The read chunk sizes halve the time of a megabyte answer; the reconnect backoff lets a call find a restarted server
# soon, for gRPC's own would wait up to two minutes and fail every call meanwhile.
CHANNEL_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_send_message_length", 64 * _MIB),
    ("grpc.max_receive_message_length", 64 * _MIB),
    ("grpc.experimental.tcp_read_chunk_size", _MIB),
    ("grpc.experimental.tcp_min_read_chunk_size", 256 * 1024),
    ("grpc.experimental.tcp_max_read_chunk_size", 4 * _MIB),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 1000),
)
# What gRPC says where it had no connection, so that the request never left.
_NOT_CONNECTED = ("failed to connect to all addresses", "DNS resolution failed", "connection attempt timed out")


def open_channel(target: str, credentials: Credentials | None = None) -> grpc.Channel:
    """A channel to one server; it connects when it is first used.

    Args:
        credentials: None: those that the environment names.
    Raises:
        InvalidRequest: they cannot be used, or would send a token in plain text to another machine.

    Side effects: sets GRPC_ENABLE_FORK_SUPPORT to 0 where nobody has set it. grpcio 1.62 has it on by default, and then
    restarts threads in forked children that disturb the process that makes their calls.
    """
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    return channels.open_channel(target, credentials, CHANNEL_OPTIONS)


def never_sent(error: grpc.RpcError) -> bool:
    """Whether a call failed because there was no connection, so that no server has seen it."""
    call = cast(grpc.Call, error)  # Every RpcError of a call is one, which the type cannot say.
    details = str(call.details() or "")
    return call.code() is grpc.StatusCode.UNAVAILABLE and any(words in details for words in _NOT_CONNECTED)
