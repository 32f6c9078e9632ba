"""`rowbank status`: everything on one screen, the worst first."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import typer

from rowbank.cli.health import cluster as found
from rowbank.cli.health.problems import FAIL, Problem, problems
from rowbank.cli.options import MISSING, Output, OutputFormat, Target
from rowbank.cli.output import emit_record, emit_rows, write_json
from rowbank.cli.retrieving import Retrieval
from rowbank.cli.screen import terminal

_SHOWN_TABLES, _SHOWN_PROBLEMS, _SHOWN_MODELS = 8, 6, 6
_RED, _GREEN, _YELLOW = 1, 2, 3
_SHARDS = {
    "shard": "SHARD", "role": "ROLE", "address": "ADDRESS", "state": "STATE", "rows": "ROWS", "age_s": "LAG S",
    "memory_used_bytes": "MEMORY", "memory_limit_bytes": "OF", "uptime_s": "UP", "version": "VERSION",
}  # fmt: skip
_WORK = {
    "shard": "SHARD", "pull_p50_ms": "PULL P50 MS", "pull_p99_ms": "P99 MS", "push_p50_ms": "PUSH P50 MS",
    "push_p99_ms": "P99 MS", "journal_bytes": "JOURNAL", "journal_lag_s": "LAG S", "dirty_rows": "TO WRITE BACK",
    "write_back_lag_s": "LAG S",
}  # fmt: skip
_REDIS = {"shard": "SHARD", "reachable": "REACHABLE", "version": "VERSION", "policy": "POLICY", "used_bytes": "MEMORY",
          "max_bytes": "LIMIT"}  # fmt: skip
_TABLES = {
    "table": "TABLE", "rows": "ROWS", "bytes": "SIZE", "max_rows": "MAX ROWS", "fill_share": "FILL",
    "pulled_rows": "PULLED", "pushed_rows": "PUSHED", "evicted_rows": "EVICTED", "regretted_rows": "REGRETTED",
}  # fmt: skip
_MODELS = {"name": "MODEL", "version": "VERSION", "active": "ACTIVE", "serving": "SERVED", "share": "SHARE",
           "items": "ITEMS", "index": "INDEX", "memory_bytes": "MEMORY"}  # fmt: skip


def status(target: Target = None, retrieval: Retrieval = None, output: Output = OutputFormat.TABLE) -> None:
    """Show how everything is on one screen: what is wrong and what to do, shards, Redis, tables, models."""
    cluster = found.look(target, retrieval)
    wrong = problems(cluster)
    record = _record(cluster, wrong)
    if output is OutputFormat.JSON:
        write_json(record)
    elif output is OutputFormat.CSV:
        emit_record(_totals(record), output)
    else:
        _print(record, wrong)
    if record["status"] != "ok":
        raise typer.Exit(3)


def _record(cluster: found.Cluster, wrong: list[Problem]) -> dict[str, Any]:
    health = {one.server_id: one for one in cluster.health}
    tables = sorted(cluster.tables, key=lambda table: -table.info.bytes)
    return {
        "status": "degraded" if any(one.severity == FAIL for one in wrong) else "ok",
        "problems": [dataclasses.asdict(one) for one in wrong],
        "shards": [found.process_record(one, health.get(one.server_id)) for one in cluster.processes],
        "redis": [found.redis_record(one) for one in cluster.health],
        "tables": [found.table_record(table) for table in tables],
        "retrieval": {"answers": cluster.models is not None, "detail": cluster.retrieval},
        "models": [found.model_record(model) for model in cluster.models or ()],
        MISSING: cluster.missing,
    }


def _totals(record: dict[str, Any]) -> dict[str, Any]:
    """One line for CSV."""
    tables, shards = record["tables"], record["shards"]
    return {
        "status": record["status"],
        "problems": len(record["problems"]),
        "worst": record["problems"][0]["what"] if record["problems"] else "",
        "processes": len(shards),
        "tables": len(tables),
        **{name: sum(table[name] for table in tables) for name in ("rows", "bytes", "dirty_rows", "evicted_rows")},
        "journal_bytes": sum(shard["journal_bytes"] or 0 for shard in shards),
        "write_back_lag_s": max((shard["write_back_lag_s"] or 0.0 for shard in shards), default=0.0),
        "redis_reachable": all(redis["reachable"] for redis in record["redis"]),
        "retrieval_answers": record["retrieval"]["answers"],
        MISSING: record[MISSING],
    }


def _print(record: dict[str, Any], wrong: list[Problem]) -> None:
    _print_problems(record["status"], wrong)
    _section("shards", record["shards"], _SHARDS)
    _section("work", [one for one in record["shards"] if one["uptime_s"] is not None], _WORK)
    _section("redis", [{**one, "max_bytes": one["max_bytes"] or None} for one in record["redis"]], _REDIS)
    _section("tables", record["tables"], _TABLES, most=_SHOWN_TABLES, rest="rowbank bigtables shows all")
    if record["retrieval"]["answers"]:
        _section("models", record["models"], _MODELS, most=_SHOWN_MODELS, rest="rowbank models shows all")
        if not record["models"]:
            _line(f"\n{terminal.bold('models')}\nnone is served by {record['retrieval']['detail']}")
    else:
        _line(f"\n{terminal.bold('models')}\nnot known: {record['retrieval']['detail']}")


def _print_problems(status: str, wrong: list[Problem]) -> None:
    colour = _RED if status != "ok" else _YELLOW if wrong else _GREEN
    word = "problem" if status != "ok" else "warning"
    count = f"{len(wrong)} {word}{'' if len(wrong) == 1 else 's'}"
    _line(f"{terminal.painted(status, colour)}: {count if wrong else 'nothing is wrong'}")
    for one in wrong[:_SHOWN_PROBLEMS]:
        _line(f"{terminal.painted(one.severity, _RED if one.severity == FAIL else _YELLOW)}  {one.what}")
        _line(f"      {one.do}")
    if len(wrong) > _SHOWN_PROBLEMS:
        _line(f"      and {len(wrong) - _SHOWN_PROBLEMS} more; -o json has all")


def _section(
    title: str, records: list[dict[str, Any]], columns: dict[str, str], *, most: int = 16, rest: str = "-o json has all"
) -> None:
    if not records:
        return
    _line(f"\n{terminal.bold(title)}")
    emit_rows([{**one, "role": one.get("role") or None} for one in records[:most]], columns, OutputFormat.TABLE, "")
    if len(records) > most:
        _line(f"and {len(records) - most} more; {rest}")


def _line(text: str) -> None:
    sys.stdout.write(text + "\n")
