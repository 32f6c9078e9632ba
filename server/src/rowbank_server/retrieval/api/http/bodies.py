"""Bodies of requests, read within limits of size and time.

What a body costs is bounded in each way that a caller could make it cost: how large it is, how long it takes to arrive,
how much of it all requests together hold in memory, and how long it keeps the event loop from other requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.requests import Request

from rowbank.errors import Overloaded, RequestTooLarge
from rowbank_server.retrieval.api import schemas
from rowbank_server.retrieval.api.http.parameters import header
from rowbank_server.retrieval.api.http.problems import ProblemError
from rowbank_server.retrieval.api.schemas.fields import BIG, MAX_BODY_BYTES
from rowbank_server.retrieval.api.schemas.validation import Body

_MAX_HELD = 256 << 20  # Bytes of bodies that have not arrived whole.


class Bodies:
    """Reads the bodies of one process.

    Args:
        timeout_s: how long a body may take to arrive.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._held = 0
        self._parsers = ThreadPoolExecutor(max_workers=1, thread_name_prefix="bodies")

    async def read(self, request: Request, kind: type[Body], *, empty: bytes = b"") -> Body:
        """The checked body of a request.

        Args:
            empty: what an empty body stands for.
        Raises:
            RequestTooLarge, Overloaded, MalformedJson, InvalidBody; ProblemError: 408.
        """
        return await self.checked(await self.whole(request) or empty, kind)

    async def whole(self, request: Request) -> bytes:
        """The body of a request as it came, without white space around it. Raises as `read`, but for what is in it."""
        length = header(request, b"content-length") or ""
        if length.isascii() and length.isdigit() and int(length[:20]) > MAX_BODY_BYTES:
            raise RequestTooLarge(f"the body has {length[:20]} bytes; at most {MAX_BODY_BYTES} are read")
        return (await self._content(request)).strip()

    async def checked(self, content: bytes, kind: type[Body]) -> Body:
        """The body that a content is. Raises MalformedJson, InvalidBody."""
        if len(content) <= BIG:
            return schemas.parsed(kind, content)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._parsers, schemas.parsed, kind, content)

    async def _content(self, request: Request) -> bytes:
        if _has_arrived(request):
            message = await request.receive()
            if message["type"] == "http.request" and not message.get("more_body", False):
                content: bytes = message.get("body", b"")
                _require_small(len(content))
                return content
            raise _went_away()
        chunks: list[bytes] = []
        total = 0
        try:
            async for chunk in within(request, self._timeout_s, whole=True):
                total += len(chunk)
                self._held += len(chunk)
                _require_small(total)
                if self._held > _MAX_HELD:
                    raise Overloaded("too many large bodies are on their way; try again in a moment")
                chunks.append(chunk)
        finally:
            self._held -= total
        return b"".join(chunks)


def _has_arrived(request: Request) -> bool:
    """Whether a body has arrived whole, so that nobody waits for it. uvicorn's receive is a method of what knows it."""
    cycle = getattr(request.receive, "__self__", None)
    return getattr(cycle, "more_body", True) is False and not getattr(cycle, "disconnected", True)


def _require_small(size: int) -> None:
    """Raises RequestTooLarge."""
    if size > MAX_BODY_BYTES:
        raise RequestTooLarge(f"the body has more than {MAX_BODY_BYTES} bytes, the most that is read")


def _went_away() -> ProblemError:
    return ProblemError(400, "malformed-json", "the caller went away before the body had arrived")


async def within(request: Request, timeout_s: float, *, whole: bool) -> AsyncIterator[bytes]:
    """The chunks of a body.

    Args:
        timeout_s: how long it may take, all of it where `whole` is set, or else each chunk.
    Raises:
        ProblemError: 408 if it takes longer; 400 if the caller goes away in between.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout_s
    more = True
    while more:
        watch = _Watch(loop, end)
        try:
            message = await request.receive()
        except asyncio.CancelledError:
            if not watch.has_fired:
                raise
            watch.take_back()
            raise ProblemError(
                408,
                "body-timeout",
                f"the body did not arrive within {timeout_s:g} s (setting body_timeout_s); send it faster, or in parts",
            ) from None
        finally:
            watch.end()
        if message["type"] == "http.disconnect":
            raise _went_away()
        more = message.get("more_body", False)
        yield message.get("body", b"")
        if not whole:
            end = loop.time() + timeout_s


class _Watch:
    """Cancels the running task at a time. `asyncio.wait_for` does the same with a task more, for each request."""

    def __init__(self, loop: asyncio.AbstractEventLoop, at: float) -> None:
        self.has_fired = False
        self._task: Any = asyncio.current_task()
        self._timer = loop.call_at(at, self._fire)

    def _fire(self) -> None:
        self.has_fired = True
        self._task.cancel()

    def end(self) -> None:
        self._timer.cancel()

    def take_back(self) -> None:
        """The cancellation has done its work; CPython 3.11 and newer count them."""
        if hasattr(self._task, "uncancel"):
            self._task.uncancel()
