"""Workers ask each other: each answers on a unix socket in the private folder, to be read by its siblings alone."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

TIMEOUT_S = 0.5  # A sibling that stands still costs a caller no more.

Answers = Mapping[str, Callable[[], bytes]]


class Siblings:
    """This worker among the others.

    Args:
        folder: where all of them have their sockets.
        worker, workers: which this one is, from 0, and how many there are.
    Attributes:
        unanswered: how often each of the others did not answer in time.
    """

    def __init__(self, folder: Path, worker: int, workers: int) -> None:
        self.worker = worker
        self.workers = workers
        self.unanswered: Counter[int] = Counter()
        self._folder = folder
        self._server: asyncio.Server | None = None
        self._answers: Answers = {}

    async def start(self, answers: Answers) -> None:
        """Answers siblings from now on: each of `answers` makes what is told under its name."""
        self._answers = answers
        path = self._path(self.worker)
        path.unlink(missing_ok=True)  # Of the process that was this worker before.
        self._server = await asyncio.start_unix_server(self._serve, path)

    def close(self) -> None:
        """Answers no more."""
        if self._server is not None:
            self._server.close()

    async def ask(self, what: str) -> dict[int, bytes | None]:
        """What every worker says to `what`, by its number; None of those that did not answer in time."""
        others = [worker for worker in range(self.workers) if worker != self.worker]
        told = await asyncio.gather(*(self._ask_one(worker, what) for worker in others))
        by_worker: dict[int, bytes | None] = {**dict(zip(others, told, strict=True))}
        self.unanswered.update(worker for worker, answer in by_worker.items() if answer is None)
        by_worker[self.worker] = self._answers[what]()
        return dict(sorted(by_worker.items()))

    async def _ask_one(self, worker: int, what: str) -> bytes | None:
        try:
            return await asyncio.wait_for(self._exchange(worker, what), TIMEOUT_S) or None  # Nothing: it is ending.
        except (OSError, asyncio.TimeoutError):
            return None

    async def _exchange(self, worker: int, what: str) -> bytes:
        reader, writer = await asyncio.open_unix_connection(self._path(worker))
        try:
            writer.write(what.encode() + b"\n")
            return await reader.read(-1)
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ValueError, asyncio.TimeoutError):
            asked = await asyncio.wait_for(reader.readline(), TIMEOUT_S)
            answer = self._answers.get(asked.decode().strip())
            if answer is not None:
                writer.write(answer())
                await asyncio.wait_for(writer.drain(), TIMEOUT_S)
        writer.close()

    def _path(self, worker: int) -> Path:
        return self._folder / f"worker-{worker}"
