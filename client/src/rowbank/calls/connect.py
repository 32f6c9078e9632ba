"""Which servers a client talks to, and whether they are the shards of one cluster."""

from __future__ import annotations

import dataclasses
import itertools
import os
import time
from collections.abc import Sequence

from rowbank import addresses, variables
from rowbank._version import __version__
from rowbank.admin import ServerInfo, server_info
from rowbank.calls import failover
from rowbank.calls.channels import CHANNEL_OPTIONS
from rowbank.calls.methods import GET_SERVER_INFO
from rowbank.calls.partial import PartialTransport
from rowbank.calls.routing import Limits
from rowbank.calls.servers import REPLICA, Shard, serves
from rowbank.calls.transport import Transport
from rowbank.credentials import Credentials
from rowbank.errors import (
    DeadlineExceeded,
    InvalidRequest,
    NotReady,
    RequestError,
    ShardUnavailable,
    VersionMismatch,
    WrongShard,
)
from rowbank_protos.v1 import admin_pb2

DEFAULT_TARGET = "127.0.0.1:7700"
_MAX_MESSAGE_BYTES = dict(CHANNEL_OPTIONS)["grpc.max_send_message_length"]


def limits_of(servers: Sequence[ServerInfo]) -> Limits:
    """What every server, and a client's channels, allow."""
    return Limits(
        max_keys=min(server.max_keys_per_request for server in servers),
        max_bytes=min([_MAX_MESSAGE_BYTES, *(server.max_message_bytes for server in servers)]),
    )


def parse_targets(
    targets: str | Sequence[str] | None,
    *,
    variable: str = variables.TARGETS,
    default: str = DEFAULT_TARGET,
    alternatives: bool = True,
) -> list[str]:
    """Addresses in full from an argument, else from an environment variable, else the default one.

    Args:
        default: HOST:PORT; its port is that of addresses without one.
        alternatives: whether a target may be several addresses of one shard, separated by |.
    Raises:
        InvalidRequest: none, an empty one, one twice, or one that is no address.
    """
    what = "targets"
    if targets is None:
        named = os.environ.get(variable)
        if not named:
            variables.warn_of_near_misses()
            return [default]
        what, targets = f"variable {variable}", named
    try:
        port = addresses.split_address(default)[1]
        return addresses.parse_targets(targets, default_port=port, alternatives=alternatives)
    except addresses.AddressError as error:
        raise InvalidRequest(f"{what}: {error}") from None


def connect(
    targets: Sequence[str],
    *,
    timeout_s: float,
    wait: bool,
    replicas: bool = False,
    credentials: Credentials | None = None,
    native: bool = True,
) -> tuple[list[Shard], list[ServerInfo]]:
    """Channels to `targets` and what their servers say of themselves, both in the order of the shards.

    Args:
        timeout_s: how long to wait for all servers to be there.
        wait: False: a server that is away now is an error at once.
        replicas: whether a replica is enough where a shard's owner is away.
        credentials: what connections are made with; None: those that the environment names.
        native: whether calls may go over native endpoints.
    Raises:
        ShardUnavailable, NotReady, DeadlineExceeded: a server is away, starting or mute; the message names the targets.
        WrongShard: the servers are not all the shards of one cluster.
        VersionMismatch: a server speaks another version.
    """
    shards = [Shard(target, credentials, native=native) for target in targets]
    transport = Transport(shards, timeout_s=timeout_s, numbered=False)
    infos = _ask(transport, targets, wait=wait, replicas=replicas)
    order = sorted(range(len(infos)), key=lambda index: infos[index].shard)
    return [shards[index] for index in order], [infos[index] for index in order]


def connect_partly(
    targets: Sequence[str], *, timeout_s: float, credentials: Credentials | None = None, native: bool = True
) -> tuple[list[Shard], list[ServerInfo], dict[int, RequestError]]:
    """As `connect`, without waiting for servers that are away: these by shard, and how that was noticed.

    Which shard each of them is, is known where one is away; of several it is taken from the order of the targets.

    Raises:
        as `connect` does, but for a server that is away only if all are.
    """
    shards = [Shard(target, credentials, native=native) for target in targets]
    transport = PartialTransport(shards, timeout_s=timeout_s, numbered=False)
    found = _ask(transport, targets, wait=False, replicas=False)
    numbers = {index: info.shard for index, info in zip(transport.present, found, strict=True)}
    free = iter(sorted(set(range(len(targets))) - set(numbers.values())))
    numbers |= {index: next(free) for index in sorted(transport.missing)}
    known = {info.shard: info for info in found}
    order = sorted(range(len(targets)), key=lambda index: numbers[index])
    infos = [
        known.get(shard) or dataclasses.replace(found[0], target=shards[index].target, shard=shard, server_id="")
        for shard, index in enumerate(order)
    ]
    missing = {numbers[index]: error for index, error in transport.missing.items()}
    return [shards[index] for index in order], infos, missing


def _ask(transport: Transport, targets: Sequence[str], *, wait: bool, replicas: bool) -> list[ServerInfo]:
    """What the servers say of themselves, as many as answer, checked; closes the transport where that fails."""
    try:
        messages = _owners(transport, wait=wait, replicas=replicas)
        infos = [server_info(transport.shards[index].target, message) for index, message in messages.items()]
        _check(infos, len(targets))
    except (DeadlineExceeded, NotReady, ShardUnavailable) as error:
        transport.close()
        named = ", ".join(targets)
        text = error.message.removeprefix(f"{named}: ")
        raise error.worded(f"cannot connect to {named}: {text}") from None
    except BaseException:
        transport.close()
        raise
    return infos


def _owners(transport: Transport, *, wait: bool, replicas: bool) -> dict[int, admin_pb2.GetServerInfoResponse]:
    """What the owners of the shards say, by place, as many as answer; calls go to them from now on.

    Raises:
        NotReady: a shard has none until the deadline.
    """
    deadline = time.monotonic() + transport.timeout_s
    for attempt in itertools.count(1):
        for shard in transport.shards:
            if not shard.alone:
                owner = failover.look_for_owner(shard, transport.stopping, thorough=True)
                if owner is None and replicas and shard.replicas:
                    shard.active = shard.replicas[0]
        messages = transport.each(GET_SERVER_INFO, admin_pb2.GetServerInfoRequest(), retry=wait)
        found = dict(zip(transport.present, messages, strict=True))
        for index, message in found.items():
            transport.shards[index].learn(transport.shards[index].active, message)
        enough = (REPLICA,) if replicas else ()
        homeless = {
            index: message for index, message in found.items() if not (serves(message) or message.role in enough)
        }
        if not homeless:
            return found
        index, message = next(iter(homeless.items()))
        # Whoever knew but a standby has learnt of the others now, and asks them.
        pause_s = 0.0 if attempt == 1 else failover.pause_s(transport.shards[index], attempt)
        if (attempt > 1 and not wait) or time.monotonic() + pause_s >= deadline:
            target = transport.shards[index].target
            raise NotReady(f"{target} is a {message.role} ({message.state}), and the shard's owner is not known there")
        time.sleep(pause_s)
    raise AssertionError("unreachable: the attempts above do not end by themselves")


def _check(infos: Sequence[ServerInfo], count: int) -> None:
    for info in infos:
        if _compatible(info.version) != _compatible(__version__):
            raise VersionMismatch(
                f"{info.target}: expected a server of version {_compatible(__version__)}.x like this client, "
                f"got {info.version}; install the same version at both ends",
                metadata={"target": info.target, "server": info.version, "client": __version__},
            )
    listed = ", ".join(f"{info.target} is shard {info.shard} of {info.shard_count}" for info in infos)
    numbers = {info.shard for info in infos}
    if len(numbers) != len(infos) or not numbers <= set(range(count)) or infos[0].shard_count != count:
        raise WrongShard(f"targets: expected every shard of one cluster once, got: {listed}")
    if len({(info.shard_count, info.namespace, info.bucket_count) for info in infos}) != 1:
        spaces = ", ".join(f"{info.target}: {info.namespace!r}, {info.bucket_count} buckets" for info in infos)
        raise WrongShard(f"targets: expected shards of one cluster and namespace, got: {listed} ({spaces})")


def _compatible(version: str) -> str:
    """The part of a version that must be equal at both ends: before 1.0 the minor number counts too."""
    parts = version.split(".")
    return ".".join(parts[:2]) if parts[0] == "0" else parts[0]
