"""Two parameter servers of one shard on one machine: each stands by for the other, and starts again when it ended."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar, cast

import grpc

from rowbank.credentials import Credentials
from rowbank.errors import InvalidRequest
from rowbank.secure import channels, diagnosis
from rowbank_protos.v1 import admin_pb2, admin_pb2_grpc
from rowbank_server.restarts import Restarts
from rowbank_server.settings import StartError

_log = logging.getLogger("rowbank.up")
_LOOK_S = 0.05
_ANSWER_S = 1.0


class Process(Protocol):
    """One of the two."""

    def exit_status(self) -> int | None: ...

    def discard_output(self) -> None: ...


_Process = TypeVar("_Process", bound=Process)


class Pair(Generic[_Process]):
    """Watches the two.

    Args:
        start: starts server `index` again, at its address, without waiting until it is ready.
    """

    def __init__(self, processes: Sequence[_Process], start: Callable[[int], _Process]) -> None:
        self.processes = list(processes)
        self._start = start
        self._restarts = Restarts("the parameter servers", hint="; see above")

    def watch(self) -> None:
        """Looks once. Raises StartError if one of them ends again and again."""
        for index, process in enumerate(self.processes):
            process.discard_output()  # A server that was replaced and starts anew says that it is ready.
            status = process.exit_status()
            if status is not None:
                self._restart(index, status)

    def _restart(self, index: int, status: int) -> None:
        self._restarts.note()
        _log.error("parameter server %d ended with status %s and is started again", index, status)
        self.processes[index] = self._start(index)


def wait_for_owner(addresses: Sequence[str], credentials: Credentials, *, timeout_s: float) -> None:
    """Waits until one of the servers at `addresses` owns their shard.

    Raises:
        StartError: that takes too long, or a connection cannot come about.
    """
    deadline = time.monotonic() + timeout_s
    while not any(_owns(address, credentials) for address in addresses):
        if time.monotonic() > deadline:
            raise StartError(f"none of the parameter servers serves within {timeout_s:g} s (setting start_timeout_s)")
        time.sleep(_LOOK_S)


def _owns(address: str, credentials: Credentials) -> bool:
    try:
        channel = channels.open_channel(address, credentials)
    except InvalidRequest as error:
        raise StartError(str(error)) from None
    with channel:
        stub = admin_pb2_grpc.AdminServiceStub(channel)
        try:
            info = stub.GetServerInfo(admin_pb2.GetServerInfoRequest(), timeout=_ANSWER_S)
        except grpc.RpcError as error:
            details = str(cast(grpc.Call, error).details() or "")
            finding = diagnosis.explain(address, credentials) if diagnosis.may_be_tls(details) else None
            if finding is not None:
                raise StartError(f"{address}: {finding.text}") from None
            return False
    return bool(info.role == "owner" and info.state == "serving")
