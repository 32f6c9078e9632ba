"""Who follows, and which owners it follows."""

from __future__ import annotations

from dataclasses import dataclass

from rowbank_protos.v1 import deltas_pb2


class RefusedError(Exception):
    """An owner that is not to be followed; the text says why."""


@dataclass(slots=True)
class Follower:
    """What a process that follows says of itself, and has in common with the owner.

    Attributes:
        role: "standby" or "replica".
        address: where this process is reached; known before it follows.
    """

    server_id: str
    role: str
    address: str
    version: str
    namespace: str
    shard: int
    shard_count: int

    def require_same(self, hello: deltas_pb2.FollowHello) -> None:
        """Raises RefusedError if the owner is this process, or one of another shard, namespace or version."""
        if hello.server_id == self.server_id:
            raise RefusedError("the owner's address leads to this process itself")
        if hello.namespace != self.namespace:
            raise RefusedError(f"the owner serves namespace {hello.namespace!r}, this process {self.namespace!r}")
        theirs, mine = f"{hello.shard}/{hello.shard_count}", f"{self.shard}/{self.shard_count}"
        if theirs != mine:
            raise RefusedError(f"the owner serves shard {theirs}, this process {mine}")
        if _compatible(hello.version) != _compatible(self.version):
            raise RefusedError(f"the owner has version {hello.version}, this process {self.version}")


def _compatible(version: str) -> list[str]:
    """The part of a version that must be equal: before 1.0 the minor number counts too."""
    parts = version.split(".")
    return parts[:2] if parts[0] == "0" else parts[:1]
