"""What may be wrong with the shard itself: unwritten rows, a full journal, damage, no standby, an open door."""

from __future__ import annotations

from collections.abc import Iterator

from rowbank_protos.v1 import admin_pb2, diagnosis_pb2
from rowbank_protos.v1.diagnosis_pb2 import Finding
from rowbank_server.ps.diagnosis.verdicts import fail, fine, warn
from rowbank_server.settings import PsSettings, is_loopback

_FULL, _NEARLY_FULL = 0.9, 0.8  # A write-back of all begins at half of the journal.
_SLOW_S, _STUCK_S = 30.0, 300.0  # Of write-back.
_REGRET = 0.05  # Of what was pushed since rows were evicted.


def of_owner(
    health: diagnosis_pb2.GetHealthResponse, tables: list[admin_pb2.TableStats], *, has_standby: bool
) -> Iterator[Finding]:
    """All checks of a shard that its owner makes."""
    yield _journal(health)
    yield _write_back(health)
    yield _corrupt(health, tables)
    yield _regret(tables)
    if has_standby:
        yield fine("standby", "one has everything")
    else:
        remedy = "start one on another machine: rowbank serve ps --standby --shard I/N --redis URL"
        yield warn("standby", "none: a crash costs the time of a load", remedy)


def of_network(settings: PsSettings) -> Finding:
    """Whether strangers can reach what they should not."""
    if is_loopback(settings.bind):
        return fine("network", f"{settings.bind}: this machine alone")
    lacks = []
    if not settings.tls_certificate:
        lacks.append("TLS (--tls-certificate, --tls-key)")
    if not settings.require_tokens:
        lacks.append("tokens (--require-tokens)")
    if lacks:
        detail = f"{settings.bind} is reached from other machines without {' and without '.join(lacks)}"
        return fail("network", detail, "set them, or bind to 127.0.0.1")
    return fine("network", f"{settings.bind}: with TLS and tokens")


def _journal(health: diagnosis_pb2.GetHealthResponse) -> Finding:
    share = health.journal_bytes / health.journal_max_bytes
    detail = f"{health.journal_bytes / 2**20:.1f} MiB in Redis, {share:.0%} of journal_max_bytes"
    if health.journal_failure:
        return fail("journal", f"cannot be appended to: {health.journal_failure}", "mend Redis; pushes are refused")
    if health.journal_lag_s > 1:
        return warn("journal", f"{health.journal_lag_s:.1f} s behind", "look at Redis: it takes appends slowly")
    if share > _FULL:
        return fail("journal", f"{detail}: pushes wait", "find out why write-back is slow: redis, disk, huge pages")
    return (
        warn("journal", detail, "write-back is behind: look at Redis")
        if share > _NEARLY_FULL
        else fine("journal", detail)
    )


def _write_back(health: diagnosis_pb2.GetHealthResponse) -> Finding:
    detail = f"{health.dirty_rows:,} rows wait, {health.write_back_lag_s:.1f} s behind"
    remedy = "look at Redis; a restart of this process now replays the journal"
    if health.dirty_rows > _FULL * health.max_dirty_rows or health.write_back_lag_s > _STUCK_S:
        return fail("write-back", detail, remedy)
    return warn("write-back", detail, remedy) if health.write_back_lag_s > _SLOW_S else fine("write-back", detail)


def _corrupt(health: diagnosis_pb2.GetHealthResponse, tables: list[admin_pb2.TableStats]) -> Finding:
    bad = [f"{table.table} {table.corrupt_rows:,}" for table in tables if table.corrupt_rows]
    if bad or health.corrupt_records:
        detail = f"rows: {', '.join(bad) or 'none'}; journal records: {health.corrupt_records}"
        return fail("corruption", detail, "they are set aside in Redis; restore those tables from a snapshot")
    return fine("corruption", "no row and no record failed its checks")


def _regret(tables: list[admin_pb2.TableStats]) -> Finding:
    bad = [
        f"{table.table} {table.regretted_rows / table.evicted_rows:.0%}"
        for table in tables
        if table.evicted_rows and table.regretted_rows > _REGRET * table.evicted_rows
    ]
    if bad:
        remedy = "raise max_rows of those tables, or choose another policy or half-life"
        return warn("eviction", f"evicted rows that came back soon: {', '.join(bad[:5])}", remedy)
    return fine("eviction", "few rows came back soon after they were evicted")
