"""Imports over HTTP: a line of JSON per item or user, read, checked and written in parts as they come.

The answer comes at the end, in one piece. An answer that is written while the body is read would stop a caller who
first sends and then reads, as most libraries do, once the buffers in between are full.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import Request

from rowbank.errors import DeadlineExceeded, Overloaded, RedisUnavailable, RequestTooLarge
from rowbank_server.retrieval.api import schemas
from rowbank_server.retrieval.api.http.bodies import within
from rowbank_server.retrieval.api.http.problems import ProblemError
from rowbank_server.retrieval.api.operations.bulk import MAX_LINE_BYTES, MAX_PART, Bulk, Outcome, Role
from rowbank_server.retrieval.api.service import Caller, Limits

MAX_ERRORS = 1000
_BYTES = 1 << 20  # Of lines that are written together, where MAX_PART of them are more.

_Part = list[tuple[int, bytes]]


class Imports:
    """Reads the imports of one process."""

    def __init__(self, bulk: Bulk, limits: Limits) -> None:
        self._bulk = bulk
        self._limits = limits
        self._running = 0

    async def read(self, request: Request, role: Role, model: str, caller: Caller) -> schemas.Imported:
        """Writes the lines of a body; what is wrong with some is told, and the others are written.

        Raises:
            Overloaded: too many imports run.
            RequestTooLarge, RedisUnavailable, DeadlineExceeded, ProblemError: the message says which lines were dealt
                with.
        """
        if self._running >= self._limits.max_imports:
            raise Overloaded(f"{self._running} imports run already (setting max_imports); try again in a moment")
        self._running += 1
        try:
            return await self._read(request, role, model, caller)
        finally:
            self._running -= 1

    async def _read(self, request: Request, role: Role, model: str, caller: Caller) -> schemas.Imported:
        total = schemas.Imported(lines=0, written=0, outdated=0, failed=0, errors=[])
        last = 0
        try:
            async for part in _parts(request, self._limits):
                outcome = await self._bulk.import_lines(role, model, [line for _, line in part], caller)
                last = part[-1][0]
                total = _with(total, part, outcome)
        except (RedisUnavailable, DeadlineExceeded, RequestTooLarge) as error:
            raise type(error)(f"{error.message}; {_until(last)}", metadata=error.metadata) from error
        except ProblemError as error:
            raise ProblemError(error.status, error.kind, f"{error.detail}; {_until(last)}") from error
        return total


def _until(last: int) -> str:
    done = f"lines 1 to {last} were" if last else "no line was"
    return f"of this import, {done} dealt with: send it again from line {last + 1}, or whole"


def _with(total: schemas.Imported, part: _Part, outcome: Outcome) -> schemas.Imported:
    """What became of the lines before, and of a part's."""
    errors = [
        schemas.LineError(part[place][0], fault.reason, fault.message)
        for place, fault in sorted(outcome.faults.items())
    ]
    return schemas.Imported(
        lines=total.lines + len(part),
        written=total.written + outcome.written,
        outdated=total.outdated + outcome.outdated,
        failed=total.failed + len(errors),
        errors=[*total.errors, *errors][:MAX_ERRORS],
    )


async def _parts(request: Request, limits: Limits) -> AsyncIterator[_Part]:
    """Lines with their numbers, from 1, empty ones left out, some hundred at a time."""
    part: _Part = []
    size = 0
    number = 0
    async for lines in _lines(request, limits):
        for line in lines:
            number += 1
            if not (stripped := line.strip()):
                continue
            part.append((number, stripped))
            size += len(stripped)
            if len(part) >= MAX_PART or size >= _BYTES:
                yield part
                part, size = [], 0
        await asyncio.sleep(0)  # What has arrived already does not let others go first, nor do lines without anything.
    if part:
        yield part


async def _lines(request: Request, limits: Limits) -> AsyncIterator[list[bytes]]:
    """The lines that end in each chunk; of one that is too long only the beginning, which is still too long."""
    rest, total = b"", 0
    async for chunk in within(request, limits.body_timeout_s, whole=False):
        total += len(chunk)
        if total > limits.import_max_bytes:
            raise RequestTooLarge(
                f"the import has more than {limits.import_max_bytes} bytes (setting import_max_bytes); send it in parts"
            )
        *whole, rest = (rest + chunk).split(b"\n")
        yield [line[: MAX_LINE_BYTES + 1] for line in whole]
        rest = rest[: MAX_LINE_BYTES + 1]
    yield [rest]
