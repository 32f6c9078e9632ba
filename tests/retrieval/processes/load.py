"""Callers that ask without a pause over connections of their own, and tell apart what can become of a request."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx


@dataclass
class Outcome:
    """What became of the requests of one connection.

    Attributes:
        answered: answers by status.
        worker: who answered, "" before the first answer.
        lost: why a request that was sent got no whole answer; "" if none was lost.
        refused: whether the connection could not be made.
    """

    answered: Counter[int] = field(default_factory=Counter)
    worker: str = ""
    lost: str = ""
    refused: bool = False


class Load:
    """Keeps so many callers asking, in a thread, until `stop`. A caller whose connection ended opens another one.

    Attributes:
        outcomes: one for each connection so far.
    """

    def __init__(self, url: str, body: Any, *, callers: int = 8, path: str = "/v1/recommend") -> None:
        where = urlsplit(url)
        assert where.hostname
        assert where.port
        self._host, self._port = where.hostname, where.port
        content = json.dumps(body).encode()
        self._request = b"POST %s HTTP/1.1\r\nhost: test\r\ncontent-length: %d\r\n\r\n%s" % (
            path.encode(),
            len(content),
            content,
        )
        self.outcomes: list[Outcome] = []
        self._callers = callers
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()

    @property
    def answers(self) -> int:
        """How many answers came so far."""
        return sum(outcome.answered.total() for outcome in list(self.outcomes))

    @property
    def statuses(self) -> set[int]:
        return {status for outcome in list(self.outcomes) for status in outcome.answered}

    @property
    def lost(self) -> list[Outcome]:
        return [outcome for outcome in list(self.outcomes) if outcome.lost]

    def stop(self) -> None:
        """Lets every caller have the answer that it waits for, and ends."""
        self._stop.set()
        self._thread.join()

    async def _run(self) -> None:
        await asyncio.gather(*(self._call() for _ in range(self._callers)))

    async def _call(self) -> None:
        while not self._stop.is_set():
            outcome = Outcome()
            self.outcomes.append(outcome)
            try:
                reader, writer = await asyncio.open_connection(self._host, self._port)
            except OSError:
                outcome.refused = True
                return  # Nobody listens any more.
            try:
                await self._ask_on(reader, writer, outcome)
            except (OSError, asyncio.IncompleteReadError) as error:
                outcome.lost = f"{type(error).__name__}: {error}"
            finally:
                writer.close()

    async def _ask_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, outcome: Outcome) -> None:
        while not self._stop.is_set():
            writer.write(self._request)
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
            headers = dict(line.split(": ", 1) for line in head[1:] if line)
            await reader.readexactly(int(headers["content-length"]))
            outcome.answered[int(head[0].split()[1])] += 1
            outcome.worker = headers.get("x-rowbank-worker", "")
            if headers.get("connection") == "close":
                return


def ask_worker(url: str, worker: int, method: str, path: str, body: Any = None, *, tries: int = 200) -> httpx.Response:
    """The answer of one worker: connections are opened until one leads to it. Only for what may be asked repeatedly."""
    for _ in range(tries):
        with httpx.Client(base_url=url, timeout=30) as http:
            if int(http.get("/healthz").headers["x-rowbank-worker"]) == worker:
                return http.request(method, path, json=body)
    raise AssertionError(f"no connection led to worker {worker}")
