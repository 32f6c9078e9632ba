"""What this process is to its shard now, for callers, for the other processes of the shard, and for the door."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from rowbank_protos.v1 import admin_pb2

Role = Literal["owner", "standby", "replica"]


@dataclass(slots=True)
class Part:
    """Changed by whoever makes this process another part; read without a lock.

    Attributes:
        server_id: new at every start; the name under which an owner writes.
        address: where others reach this process.
        native_address: where others reach its native endpoint; empty: it has none.
        state: in a word or a short sentence; of a replica, `follows` says it.
        owner_address: of a standby or replica: where the owner is, as far as it is known.
        epoch, position, age_s, rows: see `ShardMember`.
    """

    server_id: str
    version: str
    role: Role
    state: str
    address: str = ""
    native_address: str = ""
    owner_address: str = ""
    epoch: Callable[[], int] = field(default=lambda: 0)
    position: Callable[[], int] = field(default=lambda: 0)
    age_s: Callable[[], float] = field(default=lambda: 0.0)
    rows: Callable[[], int] = field(default=lambda: 0)
    follows: Callable[[], str] | None = None

    @property
    def current_state(self) -> str:
        """What it does now, in a word or a short sentence."""
        return self.follows() if self.follows is not None and self.role == "replica" else self.state

    def describe(self) -> admin_pb2.ShardMember:
        """What this process says of itself."""
        return admin_pb2.ShardMember(
            server_id=self.server_id,
            role=self.role,
            state=self.current_state,
            address=self.address,
            epoch=self.epoch(),
            position=self.position(),
            age_s=self.age_s(),
            rows=self.rows(),
            version=self.version,
            at_ms=int(time.time() * 1000),
        )
