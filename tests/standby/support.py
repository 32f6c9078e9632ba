"""What tests of standbys share: what processes of a shard say of themselves, and how one waits for it."""

from __future__ import annotations

import os
import signal
from typing import Protocol, TypeVar

import grpc
from tests.processes import READY_TIMEOUT_S, PsProcess, stand_still, until

from rowbank_protos.v1 import admin_pb2, admin_pb2_grpc


class Addressed(Protocol):
    """A process that listens at `target`."""

    @property
    def target(self) -> str: ...


_Server = TypeVar("_Server", bound=Addressed)


def info(server: Addressed) -> admin_pb2.GetServerInfoResponse:
    """What a process says of itself; nothing while it does not answer."""
    with grpc.insecure_channel(server.target) as channel:
        try:
            return admin_pb2_grpc.AdminServiceStub(channel).GetServerInfo(admin_pb2.GetServerInfoRequest(), timeout=1)
        except grpc.RpcError:
            return admin_pb2.GetServerInfoResponse()


def role(server: Addressed) -> str:
    return info(server).role


def targets(*servers: Addressed) -> str:
    """As a client is told of the processes of one shard."""
    return "|".join(server.target for server in servers)


def owner_of(*servers: _Server) -> _Server:
    """Waits until one of `servers` owns the shard."""
    found: list[_Server] = []

    def look() -> bool:
        found[:] = [server for server in servers if role(server) == "owner"]
        return bool(found)

    until(look, what="an owner")
    return found[0]


def caught_up(standby: Addressed, owner: Addressed, *, timeout_s: float = READY_TIMEOUT_S) -> None:
    """Waits until `standby` follows and has everything that `owner` has done by now."""
    position = info(owner).position

    def look() -> bool:
        said = info(standby)
        return said.role == "standby" and said.state == "following" and said.position >= position

    until(look, what="a standby that follows", timeout_s=timeout_s)


def stop(server: PsProcess) -> None:
    """It stands still until `go_on`."""
    stand_still(server.pid)


def go_on(server: PsProcess) -> None:
    os.kill(server.pid, signal.SIGCONT)


def takes_over(standby: Addressed) -> None:
    until(lambda: role(standby) == "owner", what="take-over")


def took_over_without_load(server: PsProcess) -> bool:
    """Whether the last time that it became the owner it had the rows already."""
    before, took_over, _ = server.log.rpartition("took over in ")
    return took_over != "" and ", 0 loaded," in before.splitlines()[-2]
