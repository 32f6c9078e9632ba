"""What tests of second chances share: specs, rows as bytes, evictions on demand, and what Redis has."""

from __future__ import annotations

import numpy as np
from tests.server.support import i64

from rowbank_protos.v1 import admin_pb2, rows_pb2, tables_pb2

MIB = 1 << 20


def chance(**fields):
    """An eviction that gives second chances."""
    return tables_pb2.Eviction(**{"second_chance_bytes": 16 * MIB, **fields})


def restrict(wire, table, keep):
    """Evicts all but the `keep` best rows; returns how many went."""
    return wire.admin.Restrict(admin_pb2.RestrictRequest(table=table, num_reserved=keep)).evicted


def stats(wire, table):
    (answer,) = wire.admin.GetStats(admin_pb2.GetStatsRequest(table=table)).tables
    return answer


def counts(wire, table):
    """Stored, returned, missed, expired."""
    one = stats(wire, table)
    return (
        one.second_chance_stored,
        one.second_chance_returned,
        one.second_chance_missed,
        one.second_chance_expired,
    )


def trained(wire, table):
    """Values and slots of all rows, by key, as bytes, and their frequencies."""
    rows = {}
    for chunk in wire.rows.Export(rows_pb2.ExportRequest(table=table, with_slots=True)):
        keys = np.frombuffer(chunk.keys, "<i8")
        for place, key in enumerate(keys.tolist()):
            values, slots = (
                np.frombuffer(column, "u1").reshape(len(keys), -1)[place].tobytes()
                for column in (chunk.values, chunk.slots)
            )
            rows[key] = (values, slots, int(np.frombuffer(chunk.frequency, "<u4")[place]))
    return rows


def values_of(wire, table, keys):
    """[n] float32 of rows of dim 1; NaN where there is none."""
    answer = wire.rows.Lookup(rows_pb2.LookupRequest(table=table, keys=i64(*keys)))
    values = np.frombuffer(answer.values, "<f4").copy()
    values[np.frombuffer(answer.found, "u1") == 0] = np.nan
    return values


def cold_keys(redis, namespace):
    """The hashes of cold rows: name -> number of rows."""
    names = redis.keys(f"{namespace}:*:cold:*")
    return {name.decode(): redis.hlen(name) for name in names}
