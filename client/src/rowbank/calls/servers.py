"""One shard as a client sees it: the processes that serve or follow it, and which of them owns it."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import grpc

from rowbank.addresses import AddressError, alternatives_of, parse_target
from rowbank.calls.channels import open_channel
from rowbank.calls.forked import forks
from rowbank.calls.forked.relayed import RelayedChannel
from rowbank.calls.methods import A, Method, Q
from rowbank.calls.native.lines import Lines
from rowbank.calls.native.unary import NativeUnary
from rowbank.credentials import Credentials
from rowbank.secure.channels import SecuredChannel
from rowbank.secure.tokens import may_go_to
from rowbank.tracing import Carrying
from rowbank_protos.v1 import admin_pb2, common_pb2

_serialize = operator.methodcaller("SerializeToString")

_NATIVE_SERVICE = "RowService"
OWNER, STANDBY, REPLICA = "owner", "standby", "replica"


class Server:
    """One process: its channel and its methods.

    Attributes:
        role: "owner", "standby" or "replica", as it said last, or another process said of it; "": not known.
        server_id: new at every start of the process; "": not known.
        lines: the connections to its native endpoint.
        given: whether the caller named its address; others were learnt from servers, and are forgotten again.
        credentials: what its connection is made with.
    """

    def __init__(self, target: str, credentials: Credentials, *, given: bool = True, native: bool = True) -> None:
        self.target = target
        self.lines = Lines(target, credentials, wanted=native)
        self.credentials = credentials
        self.given = given
        self.role = ""
        self.server_id = ""
        self._begin()
        forks.watch(self)

    def renew(self) -> None:
        """Begins anew in a forked child; the parent's channel is left as it is."""
        forks.keep_for_ever(self._channel, self._callables)
        self._begin()

    def _begin(self) -> None:
        open_one = open_channel if forks.may_run_grpc() else RelayedChannel
        self._channel: Any = open_one(self.target, self.credentials)
        self._callables: dict[str, Any] = {}

    def unary(self, method: Method[Q, A]) -> grpc.UnaryUnaryMultiCallable[Q, A]:
        """The method of one request and one answer; of rows over the native endpoint where there is one."""
        build = self._native if method.service == _NATIVE_SERVICE else self._channel.unary_unary
        found: grpc.UnaryUnaryMultiCallable[Q, A] = self._callable(method, build)
        return found

    def answers(self, method: Method[Q, A]) -> grpc.UnaryStreamMultiCallable[Q, A]:
        """The method of one request and a stream of answers."""
        found: grpc.UnaryStreamMultiCallable[Q, A] = self._callable(method, self._channel.unary_stream)
        return found

    def requests(self, method: Method[Q, A]) -> grpc.StreamUnaryMultiCallable[Q, A]:
        """The method of a stream of requests and one answer."""
        found: grpc.StreamUnaryMultiCallable[Q, A] = self._callable(method, self._channel.stream_unary)
        return found

    def reopened(self) -> bool:
        """Whether the files that its connection is made with have changed, so that another one is made from now on."""
        return isinstance(self._channel, SecuredChannel) and self._channel.reopened()

    def close(self) -> None:
        """Ends the connections; calls under way are cancelled."""
        self.lines.close()
        self._channel.close()

    def _native(self, path: str, *, request_serializer: Any, response_deserializer: Any) -> NativeUnary:
        other = self._channel.unary_unary(
            path, request_serializer=request_serializer, response_deserializer=response_deserializer
        )
        return NativeUnary(self.lines, self.target, path, response_deserializer, other)

    def _callable(self, method: Method[Any, Any], build: Callable[..., Any]) -> Any:
        found = self._callables.get(method.path)
        if found is None:
            made = build(
                method.path,
                request_serializer=_serialize,
                response_deserializer=method.answer.FromString,
            )
            found = self._callables[method.path] = Carrying(made)
        return found


class Shard:
    """The processes of one shard, and the numbers of the mutations sent to it. Threads may share it.

    Args:
        target: an address, or several of one shard separated by |; the first is taken for the owner's until one says
            that it is.
        credentials: what connections are made with; None: those that the environment names.
        native: whether calls may go over native endpoints.

    Attributes:
        servers: all that are known; the list is replaced, never changed.
        active: the one that calls go to.
        alone: whether there is no other to go to; replicas do not count.
        slow_until: until then, by the monotonic clock, calls that take long are no surprise.
        replicas: those of them that answer reads alone.
        epoch: the highest that an owner said; 0: none did.
    """

    def __init__(self, target: str, credentials: Credentials | None = None, *, native: bool = True) -> None:
        self._credentials = Credentials.from_environment() if credentials is None else credentials
        self._native = native
        self.servers: list[Server] = [self._server(one) for one in alternatives_of(target)]
        self.active = self.servers[0]
        self.alone = len(self.servers) == 1
        self.replicas: list[Server] = []
        self.epoch = 0
        self.slow_until = 0.0
        self._lock = forks.Lock()
        self._sequence = itertools.count(1)
        forks.watch(self)

    def _server(self, target: str, *, given: bool = True) -> Server:
        return Server(target, self._credentials, given=given, native=self._native)

    def renew(self) -> None:
        """Numbers anew in a forked child, which is another client."""
        self._sequence = itertools.count(1)

    @property
    def target(self) -> str:
        """The address that calls go to."""
        return self.active.target

    def request_id(self, client_id: str) -> common_pb2.RequestId:
        """The name of the next mutation; `next` on a counter is atomic, so threads may share a shard."""
        return common_pb2.RequestId(client_id=client_id, sequence=next(self._sequence))

    def close(self) -> None:
        """Ends the connections; calls under way are cancelled."""
        for server in self.servers:
            server.close()

    def move(self, server: Server, epoch: int) -> None:
        """Lets calls go to `server`, which said that it owns the shard."""
        self.active, self.epoch = server, max(self.epoch, epoch)

    def learn(self, server: Server, info: admin_pb2.GetServerInfoResponse) -> None:
        """Takes in what a server says of itself and of the others of its shard."""
        server.role, server.server_id = info.role, info.server_id
        # The address that the server itself is reached at may be another than the one that it tells others: a proxy's.
        own = {member.address for member in info.members if member.server_id == info.server_id}
        server.lines.learn(info.native_address, info.server_id, own)
        others = [member for member in info.members if member.address and member.address not in own]
        with self._lock:
            self._take_in(server, others)

    def suggest(self, address: str) -> None:
        """Adds an address at which a server said the owner is."""
        with self._lock:
            self._take_in(None, [admin_pb2.ShardMember(address=address, role=OWNER)], forget=False)

    def _take_in(self, teller: Server | None, members: Iterable[admin_pb2.ShardMember], *, forget: bool = True) -> None:
        known = {server.target: server for server in self.servers}
        kept = [one for one in self.servers if one.given or one in (teller, self.active) or not forget]
        for member in sorted(members, key=lambda member: member.at_ms):
            address = _parsed(member.address)
            ids = {server.server_id for server in kept}
            if not address or (member.server_id and member.server_id in ids):
                continue
            if not may_go_to(address, self._credentials):
                continue
            server = known.get(address) or self._server(address, given=False)
            server.role = server.role if server is self.active else member.role
            if server not in kept:
                kept.append(server)
        self.servers = kept
        self.replicas = [one for one in kept if one.role == REPLICA]
        self.alone = not any(one is not self.active and one.role != REPLICA for one in kept)


def _parsed(address: str) -> str:
    """An address as a server tells it, in full; "": none, so nobody can be reached there."""
    try:
        return parse_target(address)
    except AddressError:
        return ""


def best_owner(
    shard: Shard, answers: Sequence[tuple[Server, admin_pb2.GetServerInfoResponse]]
) -> tuple[Server, int] | None:
    """Of those that say they own the shard, the one with the highest epoch, which must not be below the known one.

    A process that was paused and replaced takes itself for the owner until it learns better. Of equals, which only
    servers that tell no epoch are, one that calls do not go to yet.
    """
    owners = [(info.epoch, one is not shard.active, place) for place, (one, info) in enumerate(answers) if serves(info)]
    if not owners:
        return None
    epoch, _, place = max(owners)
    return (answers[place][0], epoch) if epoch >= shard.epoch else None


def serves(info: admin_pb2.GetServerInfoResponse) -> bool:
    """Whether it owns its shard; servers that know of no roles do."""
    return info.role in ("", OWNER)
