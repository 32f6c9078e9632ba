"""Who serves and who follows each shard, asked of all processes that can be found, whoever of them is away."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any, TypeVar

import grpc

from rowbank.admin import FollowerInfo, ShardProcess
from rowbank.calls import failover, methods
from rowbank.calls.methods import Method
from rowbank.calls.servers import OWNER, Server, Shard, serves
from rowbank.diagnosis import Diagnosis, diagnosis
from rowbank.errors import ClientClosed, PermissionDenied, RequestError, Unauthenticated
from rowbank_protos.v1 import admin_pb2, deltas_pb2, diagnosis_pb2

A = TypeVar("A")
_Info = admin_pb2.GetServerInfoResponse
_POLL_S = 0.002
_NO_ANSWER = "does not answer"
_LONG = 60  # Characters; gRPC's own words are.


def survey(shards: Sequence[Shard], stop: threading.Event, *, timeout_s: float) -> list[ShardProcess]:
    """All processes of `shards`, by shard, owners first, with the followers that each owner has.

    Args:
        shards: in the order of their numbers, as far as those are known.
        timeout_s: how long each of three questions may take.
    Raises:
        Unauthenticated, PermissionDenied: nobody answers, and somebody refuses to.
    """
    infos: dict[Server, _Info | RequestError] = {}
    for _ in range(2):  # Those that are learnt from the first answers are asked, too.
        servers = [server for shard in shards for server in shard.servers if server not in infos]
        found = _ask(methods.GET_SERVER_INFO, admin_pb2.GetServerInfoRequest(), servers, stop, timeout_s)
        infos |= found
        for shard in shards:
            for server in shard.servers:
                info = found.get(server)
                if isinstance(info, _Info):
                    shard.learn(server, info)
    refusals = [info for info in infos.values() if isinstance(info, Unauthenticated | PermissionDenied)]
    if refusals and not any(isinstance(info, _Info) for info in infos.values()):
        raise refusals[0]
    owners = [server for server, info in infos.items() if isinstance(info, _Info) and serves(info)]
    followers = _ask(methods.LIST_FOLLOWERS, deltas_pb2.ListFollowersRequest(), owners, stop, timeout_s)
    processes = []
    for place, shard in enumerate(shards):
        answered = {server: info for server in shard.servers if isinstance(info := infos.get(server), _Info)}
        number = next((info.shard for info in answered.values()), place)
        served = any(serves(info) for info in answered.values())
        for server in shard.servers:
            told = _told_of(server, answered)
            listed = followers.get(server)
            processes.append(_process(number, server, infos.get(server), told, listed, served=served))
    unique = {process.server_id or process.address: process for process in processes}
    return sorted(unique.values(), key=lambda one: (one.shard, one.role != OWNER, one.role, one.address))


def diagnose(
    shards: Sequence[Shard], stop: threading.Event, *, timeout_s: float
) -> list[tuple[str, Diagnosis | RequestError]]:
    """The address of every process of `shards` that is known by now, and what it finds, or how it failed."""
    servers = [server for shard in shards for server in shard.servers]
    answers = _ask(methods.DIAGNOSE, diagnosis_pb2.DiagnoseRequest(), servers, stop, timeout_s)
    return [
        (server.target, answer if isinstance(answer, RequestError) else diagnosis(server.target, answer))
        for server, answer in answers.items()
    ]


def _told_of(server: Server, answered: dict[Server, _Info]) -> admin_pb2.ShardMember:
    """What was written down of a process last, by itself."""
    members = [
        member
        for info in answered.values()
        for member in info.members
        if (member.server_id == server.server_id if server.server_id else member.address == server.target)
    ]
    return max(members, key=lambda member: member.at_ms, default=admin_pb2.ShardMember())


def _says_why(error: RequestError) -> bool:
    """Whether its message is for people: short, or of what TLS is to blame for."""
    return "tls" in error.metadata or len(error.message) < _LONG


def _process(
    shard: int,
    server: Server,
    info: _Info | RequestError | None,
    told: admin_pb2.ShardMember,
    followers: Any,
    *,
    served: bool,
) -> ShardProcess:
    if not isinstance(info, _Info):
        role = told.role or server.role
        return ShardProcess(
            shard=shard,
            role="" if served and role == OWNER else role,  # It was the owner.
            address=server.target,
            state=f"{_NO_ANSWER}: {info.message}" if info and _says_why(info) else _NO_ANSWER,
            epoch=told.epoch,
            position=told.position,
            age_s=told.age_s,
            rows=told.rows,
            version=told.version,
            server_id=told.server_id,
            answers=False,
        )
    listed = followers.followers if isinstance(followers, deltas_pb2.ListFollowersResponse) else ()
    return ShardProcess(
        shard=shard,
        role=info.role or OWNER,
        address=server.target,
        state=info.state or told.state or "serving",
        epoch=info.epoch,
        position=info.position,
        age_s=told.age_s,
        rows=told.rows,
        version=info.version,
        server_id=info.server_id,
        answers=True,
        followers=tuple(_follower(message) for message in listed),
        memory_used_bytes=info.memory_used_bytes,
        memory_limit_bytes=info.memory_limit_bytes,
        growth_refused=info.growth_refused,
        fastest_growing_table=info.fastest_growing_table,
        native_address=info.native_address,
    )


def _follower(message: deltas_pb2.Follower) -> FollowerInfo:
    return FollowerInfo(
        name=message.name,
        role=message.role,
        address=message.address,
        detail=deltas_pb2.FollowDetail.Name(message.detail).removeprefix("FOLLOW_DETAIL_").lower(),
        tables=tuple(message.tables),
        position=message.position,
        lag_records=message.lag_records,
        lag_s=message.lag_s,
        source=message.source,
        sent_bytes=message.sent_bytes,
        connected_s=message.connected_s,
    )


def _ask(
    method: Method[Any, A], request: Any, servers: Sequence[Server], stop: threading.Event, timeout_s: float
) -> dict[Server, A | RequestError]:
    """The answer of each server, or how it failed, in the order of the servers. Raises `ClientClosed`."""
    if stop.is_set():
        raise ClientClosed("the client is closed; make a new one")
    asked = {server: server.unary(method).future(request, timeout=timeout_s) for server in servers}
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline and not all(future.done() for future in asked.values()):
        if stop.wait(_POLL_S):
            break
    answers: dict[Server, A | RequestError] = {}
    for server, future in asked.items():
        try:
            answers[server] = future.result()
        except grpc.RpcError as error:  # noqa: PERF203 - one per process.
            answers[server] = failover.error_of(error, "", server)
    return answers
