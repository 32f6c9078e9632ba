"""`rowbank shards`."""

from __future__ import annotations

import dataclasses
import sys
import threading
from typing import TYPE_CHECKING, Any

from rowbank.cli.options import Output, OutputFormat, Target, report_degraded
from rowbank.cli.output import emit_rows

if TYPE_CHECKING:
    from rowbank.admin import ShardProcess

_COLUMNS = {
    "shard": "SHARD",
    "role": "ROLE",
    "address": "ADDRESS",
    "state": "STATE",
    "epoch": "EPOCH",
    "position": "POSITION",
    "age_s": "AGE S",
    "rows": "ROWS",
    "version": "VERSION",
    "native_address": "NATIVE ENDPOINT",
}
_FOLLOWERS = {
    "shard": "SHARD",
    "name": "FOLLOWER",
    "role": "ROLE",
    "detail": "DETAIL",
    "position": "POSITION",
    "lag_records": "LAG",
    "lag_s": "LAG S",
    "source": "SOURCE",
    "sent_bytes": "SENT",
}
_TIMEOUT_S = 2.0


def shards(target: Target = None, output: Output = OutputFormat.TABLE) -> None:
    """Show the processes of each shard and who follows them."""
    found = survey(target)
    records: list[dict[str, Any]] = [dataclasses.asdict(process) for process in found]
    if output is not OutputFormat.TABLE:
        for record in records:
            record["followers"] = list(record["followers"])
        emit_rows(records, _COLUMNS, output, empty="")
    else:
        _print(found, records)
    report_degraded(_notes(found))


def survey(target: str | None) -> list[ShardProcess]:
    """Every process of every shard that can be found. Raises ShardUnavailable if none answers."""
    from rowbank.calls import connect
    from rowbank.calls import survey as calls
    from rowbank.calls.servers import Shard
    from rowbank.errors import ShardUnavailable

    places = [Shard(one) for one in connect.parse_targets(target)]
    try:
        found = calls.survey(places, threading.Event(), timeout_s=_TIMEOUT_S)
    finally:
        for shard in places:
            shard.close()
    if not any(process.answers for process in found):
        named = "; ".join(f"{process.address} {process.state}" for process in found)
        raise ShardUnavailable(
            f"cannot connect to any parameter server: {named}; `rowbank up` starts one, --target says where they are"
        )
    return found


def _print(found: list[ShardProcess], records: list[dict[str, Any]]) -> None:
    for record in records:
        record["role"] = record["role"] or None
        record["version"] = record["version"] or None
        record["native_address"] = record["native_address"] or None
    emit_rows(records, _COLUMNS, OutputFormat.TABLE, empty="no shards")
    followers = [
        {"shard": process.shard, **dataclasses.asdict(one), "role": one.role or None, "name": one.address or one.name}
        for process in found
        for one in process.followers
    ]
    if followers:
        sys.stdout.write("\n")
        emit_rows(followers, _FOLLOWERS, OutputFormat.TABLE, empty="")


def _notes(found: list[ShardProcess]) -> list[str]:
    """What is wrong: processes that do not answer, shards that nobody serves."""
    away = [f"{process.address} (shard {process.shard}) does not answer" for process in found if not process.answers]
    served = {process.shard for process in found if process.answers and process.role == "owner"}
    unserved = sorted({process.shard for process in found} - served)
    return away + [f"shard {shard} has no owner" for shard in unserved]
