"""Workers that ask each other, over real sockets."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from rowbank_server.retrieval.processes import siblings
from rowbank_server.retrieval.processes.siblings import Siblings


def test_all_that_answer_are_heard_and_the_others_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(siblings, "TIMEOUT_S", 0.2)

    async def ask() -> None:
        first, second = Siblings(tmp_path, 0, 5), Siblings(tmp_path, 1, 5)
        await first.start({"name": lambda: b"first"})
        await second.start({"name": lambda: b"2" * 300_000})
        with socket.socket(socket.AF_UNIX) as still, socket.socket(socket.AF_UNIX) as dead:
            still.bind(str(tmp_path / "worker-2"))  # Takes connections, and that is all.
            still.listen()
            dead.bind(str(tmp_path / "worker-3"))
            answers = await first.ask("name")  # Of worker 4 there is nothing.
        assert answers == {0: b"first", 1: b"2" * 300_000, 2: None, 3: None, 4: None}
        assert first.unanswered == {2: 1, 3: 1, 4: 1}
        second.close()
        assert (await first.ask("name"))[1] is None
        first.close()

    asyncio.run(ask())


def test_a_worker_that_comes_again_takes_its_socket_over(tmp_path: Path):
    async def ask() -> None:
        asking, before, after = Siblings(tmp_path, 0, 2), Siblings(tmp_path, 1, 2), Siblings(tmp_path, 1, 2)
        await asking.start({"name": lambda: b"asking"})
        await before.start({"name": lambda: b"before"})
        await after.start({"name": lambda: b"after"})
        assert await asking.ask("name") == {0: b"asking", 1: b"after"}
        for one in (asking, before, after):
            one.close()

    asyncio.run(ask())


def test_nonsense_is_not_answered(tmp_path: Path):
    async def ask() -> None:
        one = Siblings(tmp_path, 0, 1)
        await one.start({"name": lambda: b"one"})
        for question in (b"other\n", b"\xff\n", b"x" * 100_000):
            reader, writer = await asyncio.open_unix_connection(tmp_path / "worker-0")
            writer.write(question)
            assert await reader.read() == b""
            writer.close()
        assert await one.ask("name") == {0: b"one"}
        one.close()

    asyncio.run(ask())
