"""All shards, as far as this process can know of them: their processes by Redis, their tables by asking."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rowbank import Client
from rowbank.admin import TableStats
from rowbank.credentials import Credentials
from rowbank.errors import RequestError
from rowbank_protos.v1 import admin_pb2
from rowbank_server.storage.members import Members

_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Seen:
    """The cluster at a moment.

    Attributes:
        members: by shard, owners first.
        tables: of all shards that answer, added up; None: this process has all of them itself.
        missing: by shard: why it does not answer.
    """

    members: dict[int, list[admin_pb2.ShardMember]]
    tables: list[TableStats] | None = None
    missing: dict[int, str] = field(default_factory=dict)


class Cluster:
    """Looks at all shards; of one thread.

    Args:
        members: of each shard.
        me: this process's own shard, and its members as it knows them.
        open_client: a client of all owners, for a cluster of several shards.
    """

    def __init__(
        self,
        members: Sequence[Members],
        me: tuple[int, Callable[[], list[admin_pb2.ShardMember]]],
        open_client: Callable[[list[str]], Client],
    ) -> None:
        self._members = members
        self._shard, self._own = me
        self._open_client = open_client
        self._client: Client | None = None
        self._targets: list[str] = []

    def look(self) -> Seen:
        """Asks Redis, then the shards. Raises RedisUnavailable, or another RequestError if no shard answers."""
        seen = {
            shard: self._own() if shard == self._shard else members.current()
            for shard, members in enumerate(self._members)
        }
        if len(seen) == 1:
            return Seen(seen)
        owners = [member.address for members in seen.values() for member in members if member.role == "owner"]
        try:
            client = self._of(owners)
            return Seen(seen, client.stats(), dict(client.missing))
        except RequestError:
            self.close()
            raise

    def _of(self, targets: list[str]) -> Client:
        if self._client is None or self._targets != targets:
            self.close()
            self._client, self._targets = self._open_client(targets), targets
        return self._client

    def close(self) -> None:
        """Ends the connections."""
        with contextlib.suppress(RequestError):
            if self._client is not None:
                self._client.close()
        self._client = None


def open_client(targets: list[str], *, credentials: Credentials) -> Client:
    """A client that leaves out what is away."""
    return Client(
        targets,
        timeout_s=_TIMEOUT_S,
        connect_timeout_s=_TIMEOUT_S,
        wait_for_ready=False,
        partial=True,
        credentials=credentials,
    )
