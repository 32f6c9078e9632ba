"""What row requests pass once their tables are known: the limits of these, then the fair line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import grpc

from rowbank_server.ps.limits.in_flight import InFlight
from rowbank_server.ps.limits.turns import Turns
from rowbank_server.ps.tables.table import ShardTable


class RowLimits:
    """Reads and mutations wait in lines of their own, as a mutation may wait for Redis and a read never does."""

    def __init__(self, in_flight: InFlight, reads: Turns, mutations: Turns) -> None:
        self._in_flight = in_flight
        self._reads = reads
        self._mutations = mutations

    @contextmanager
    def read(self, context: grpc.ServicerContext, tables: Sequence[ShardTable], size: int) -> Iterator[None]:
        """Around a read that takes and gives `size` bytes. Raises Overloaded, DeadlineExceeded."""
        names = [table.name for table in tables]
        with self._in_flight.tables(names, size), self._reads.turn(context, names, size):
            yield

    @contextmanager
    def change_of_stream(self, context: grpc.ServicerContext, table: ShardTable, size: int) -> Iterator[None]:
        """Around one of a stream's mutations, which wait and are not refused. Raises Overloaded after half a minute."""
        with self._mutations.turn(context, [table.name], size):
            yield

    @contextmanager
    def change(self, context: grpc.ServicerContext, tables: Sequence[ShardTable], size: int) -> Iterator[None]:
        """Around a mutation whose request has `size` bytes. Raises Overloaded, DeadlineExceeded."""
        names = [table.name for table in tables]
        with self._in_flight.tables(names, size), self._mutations.turn(context, names, size):
            yield
