"""What may be wrong with Redis: gone, too old, full, forgetting, not kept on disk, no master."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rowbank_protos.v1.diagnosis_pb2 import Finding
from rowbank_server.ps.diagnosis.redis_look import RedisFacts
from rowbank_server.ps.diagnosis.verdicts import fail, fine, unknown, warn

_OLDEST = (6, 2)
_FULL, _NEARLY_FULL = 0.95, 0.8  # Of maxmemory.
_NOEVICTION = "set it: CONFIG SET maxmemory-policy noeviction, and in the server's file"
_SKEW_S = 2.0
_SMALL_REWRITE = 1 << 30  # Bytes of a file that doubles within seconds where a journal of 100 MB/s is written to it.


def of_redis(facts: RedisFacts, *, synced_tables: list[str], embedded: bool) -> Iterator[Finding]:
    """All checks of Redis.

    Args:
        embedded: whether it is `rowbank up`'s own, whose files are synced once a second from outside.
        synced_tables: names of tables whose pushes are acknowledged once they are on disk.
    """
    if facts.failure:
        yield fail("redis", f"cannot be asked: {facts.failure}", "start it, or mend the network between; reads go on")
        return
    yield _version(facts)
    yield _policy(facts)
    yield _memory(facts)
    yield _persistence(facts, synced_tables, embedded=embedded)
    yield from _rewriting(facts)
    yield _disk_writes(facts)
    yield _replication(facts)
    yield _connections(facts)
    yield _clock(facts)


def _version(facts: RedisFacts) -> Finding:
    name = "Valkey" if facts.first("valkey_version") else "Redis"
    text = facts.first("valkey_version") or facts.first("redis_version")
    numbers = tuple(int(number) for number in re.findall(r"\d+", text)[:2])
    if not numbers:
        return unknown("redis version", "it does not tell")
    if numbers < _OLDEST:
        return fail("redis version", f"{name} {text}", "use Redis 6.2 or newer, or Valkey")
    return fine("redis version", f"{name} {text}")


def _policy(facts: RedisFacts) -> Finding:
    policies = {str(node.get("maxmemory_policy", "")) for node in facts.nodes}
    text = ", ".join(sorted(policies))
    if policies == {""}:
        return unknown("redis policy", "it does not tell its maxmemory-policy", "make sure that it is noeviction")
    if any(policy.startswith("allkeys-") for policy in policies):
        if facts.total("maxmemory"):
            return fail("redis policy", f"{text} with a limit: rows can be lost without a word", _NOEVICTION)
        return warn("redis policy", f"{text} without a limit: rows are lost once one is set", _NOEVICTION)
    if policies - {"noeviction"}:
        return warn("redis policy", f"{text}: models under publication can be lost", _NOEVICTION)
    return fine("redis policy", text)


def _memory(facts: RedisFacts) -> Finding:
    used, limit = facts.total("used_memory"), facts.total("maxmemory")
    if not limit:
        machine = facts.total("total_system_memory")
        if machine and used > _NEARLY_FULL * machine:
            detail = f"{_size(used)} of a machine with {_size(machine)}, no limit"
            return warn("redis memory", detail, "give its machine more memory, or set caps on tables")
        return fine("redis memory", f"{_size(used)}, no limit (maxmemory 0)")
    share = used / limit
    detail = f"{_size(used)} of {_size(limit)} ({share:.0%})"
    remedy = "raise maxmemory, or set caps on tables (rowbank bigtables shows the largest)"
    if share >= _FULL:
        return fail("redis memory", f"{detail}: writes are refused when it is full", remedy)
    return warn("redis memory", detail, remedy) if share >= _NEARLY_FULL else fine("redis memory", detail)


def _persistence(facts: RedisFacts, synced_tables: list[str], *, embedded: bool) -> Finding:
    append_only = all(int(node.get("aof_enabled", 0)) for node in facts.nodes)
    sync = facts.settings.get("appendfsync", "")
    saves = bool(facts.settings.get("save"))
    if synced_tables and not (append_only and sync in ("always", "")):
        has = f"appendonly yes, appendfsync {sync}" if append_only else "appendonly no"
        tables = ", ".join(synced_tables[:3]) + ("..." if len(synced_tables) > 3 else "")
        return fail(
            "redis persistence",
            f"synced tables ({tables}) need appendfsync always, Redis has {has}",
            "CONFIG SET appendonly yes, CONFIG SET appendfsync always (rowbank up: --appendfsync always)",
        )
    if append_only and sync == "no" and not embedded:
        detail = "appendfsync no: a loss of power loses half a minute of what was acknowledged"
        return warn("redis persistence", detail, "CONFIG SET appendfsync everysec, and in the server's file")
    if append_only:
        return fine("redis persistence", f"append-only file{f', appendfsync {sync}' if sync else ''}")
    remedy = "CONFIG SET appendonly yes, and in the server's file"
    if saves:
        return warn("redis persistence", "snapshots alone: a crash of Redis loses minutes of its writes", remedy)
    return fail("redis persistence", "nothing is kept on disk: a restart of Redis comes back empty", remedy)


def _rewriting(facts: RedisFacts) -> Iterator[Finding]:
    """Of a file that keeps a journal, and of one alone."""
    least = facts.settings.get("auto-aof-rewrite-min-size", "")
    if not least.isdigit() or not all(int(node.get("aof_enabled", 0)) for node in facts.nodes):
        return
    detail = f"its append-only file is rewritten when it has doubled, from {_size(int(least))} on"
    if int(least) >= _SMALL_REWRITE:
        yield fine("redis rewriting", detail)
        return
    why = ": a journal makes a small one double every second, and each time a child process takes a core"
    yield warn("redis rewriting", detail + why, "CONFIG SET auto-aof-rewrite-min-size 2gb, and in the server's file")


def _disk_writes(facts: RedisFacts) -> Finding:
    bad = [
        field
        for node in facts.nodes
        for field in ("aof_last_write_status", "aof_last_bgrewrite_status", "rdb_last_bgsave_status")
        if node.get(field, "ok") != "ok"
    ]
    if bad:
        detail = f"failed: {', '.join(sorted(set(bad)))}"
        return fail("redis disk", detail, "look at Redis's log; make room on its disk, and memory for its fork")
    return fine("redis disk", "its last writes to disk succeeded")


def _replication(facts: RedisFacts) -> Finding:
    if any(node.get("role") in ("slave", "replica") for node in facts.nodes):
        return fail("redis role", "a replica, which refuses writes", "name the master, or the Sentinels, in --redis")
    replicas = facts.total("connected_slaves")
    needed = int(facts.settings.get("min-replicas-to-write") or 0)
    if needed > replicas:
        detail = f"min-replicas-to-write is {needed}, {replicas} are connected: writes are refused"
        return fail("redis role", detail, "start the replicas, or lower min-replicas-to-write")
    return fine("redis role", f"master, {replicas} replica{'' if replicas == 1 else 's'}")


def _connections(facts: RedisFacts) -> Finding:
    used, most = facts.total("connected_clients"), facts.total("maxclients")
    if most and used > _NEARLY_FULL * most:
        return warn(
            "redis clients", f"{used} of {most}", "raise maxclients, or find out who keeps so many (CLIENT LIST)"
        )
    return fine("redis clients", f"{used}{f' of {most}' if most else ''}")


def _clock(facts: RedisFacts) -> Finding:
    if facts.ahead_s is None:
        return unknown("redis clock", "not known of a Cluster")
    detail = f"{abs(facts.ahead_s) * 1e3:.0f} ms {'ahead of' if facts.ahead_s > 0 else 'behind'} this machine's"
    if abs(facts.ahead_s) > _SKEW_S:
        return warn("redis clock", detail, "let both machines follow the same time servers (NTP)")
    return fine("redis clock", detail)


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
