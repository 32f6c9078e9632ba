"""Logging of the servers: one line a message on stderr, as text or as JSON; stdout belongs to the ready line."""

from __future__ import annotations

import datetime
import json
import logging
import sys

from rowbank import tracing


def _ids() -> dict[str, str]:
    """Of the request that this thread or task works on."""
    ids = {"request_id": tracing.request_id(), "trace_id": tracing.trace_id()}
    return {name: value for name, value in ids.items() if value}


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line, *rest = super().format(record).split("\n", 1)  # A trace comes after the line that has the ids.
        ids = " ".join(f"{name}={value}" for name, value in _ids().items())
        return "\n".join([f"{line} [{ids}]" if ids else line, *rest])


class _JsonFormatter(logging.Formatter):
    def __init__(self, worker: int | None) -> None:
        super().__init__()
        self._worker = {} if worker is None else {"worker": worker}

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.datetime.fromtimestamp(record.created, datetime.timezone.utc)
        entry = {
            "at": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            **self._worker,
            "message": record.getMessage(),
            **_ids(),
        }
        if record.exc_info:
            entry["trace"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def configure(level: str, log_format: str, worker: int | None = None) -> None:
    """Sends all messages of `level` and above to stderr; `log_format` is "text" or "json". `worker`: which of several
    processes this is, for every message."""
    handler = logging.StreamHandler(sys.stderr)
    if log_format == "json":
        handler.setFormatter(_JsonFormatter(worker))
    else:
        which = "" if worker is None else f"[{worker}]"
        handler.setFormatter(_TextFormatter(f"%(asctime)s %(levelname)-7s %(name)s{which}: %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
