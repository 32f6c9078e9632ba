"""Read-only copies of tables, made by the shards where the rows are."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping

from rowbank import admin
from rowbank.calls import methods
from rowbank.calls.pictures import held_moment
from rowbank.calls.transport import Transport
from rowbank.errors import RequestError
from rowbank_protos.v1 import common_pb2, snapshots_pb2, tables_pb2


def freeze_tables(
    transport: Transport, names: Mapping[str, str], value_dtype: common_pb2.DataType, *, timeout_s: float
) -> dict[str, tuple[admin.TableInfo, int]]:
    """Copies tables as they are at one moment over all shards, while they stay in use.

    Args:
        names: table -> name of its copy. What exists under that name already is an error.
        value_dtype: of all copies; unspecified: each as its table's own.
        timeout_s: deadline per table and shard.
    Returns:
        Table -> its copy, sizes over all shards, and the table's step at that moment.
    Raises:
        TableNotFound, TableExists, NotReady, RedisUnavailable: no copy is left behind.
    """
    done: dict[str, tuple[admin.TableInfo, int]] = {}
    shards = range(len(transport.shards))
    try:
        with held_moment(transport) as moment:
            for table, frozen_name in names.items():
                request = snapshots_pb2.FreezeTableRequest(
                    snapshot_id=moment.snapshot_id, table=table, frozen_name=frozen_name, value_dtype=value_dtype
                )
                answers = transport.run(
                    methods.FREEZE_TABLE, [(shard, request) for shard in shards], retry=False, timeout_s=timeout_s
                )
                info = admin.merge_table_infos([answer.table for answer in answers])
                done[table] = info, max(answer.step for answer in answers)
    except BaseException:
        drop_copies(transport, names.values())
        raise
    return done


def drop_copies(transport: Transport, names: Iterable[str]) -> None:
    """Drops copies that no version came to own; one that cannot be reached now is left for pruning."""
    for name in names:
        for shard in range(len(transport.shards)):
            with contextlib.suppress(RequestError):
                transport.one(methods.DROP_TABLE, shard, tables_pb2.DropTableRequest(name=name, missing_ok=True))
