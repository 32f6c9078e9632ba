"""What workers know of each other's connections."""

from __future__ import annotations

from pathlib import Path

import pytest

from rowbank_server.retrieval.processes import board as boards
from rowbank_server.retrieval.processes.board import Board


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board.create(tmp_path / "board", 3)


def test_another_process_sees_what_is_said(board: Board, tmp_path: Path):
    other = Board(tmp_path / "board")
    board.set_connections(1, 5)
    board.beat(1)
    assert other.workers == 3
    assert [other.connections(worker) for worker in range(3)] == [0, 5, 0]
    assert [other.accepts(worker) for worker in range(3)] == [False, True, False]
    other.leave(1)
    assert not board.accepts(1)


def test_the_fullest_is_who_has_more_than_another_that_accepts(board: Board):
    for worker, connections in enumerate([2, 1, 0]):
        board.set_connections(worker, connections)
    board.beat(0)
    board.beat(1)
    assert [board.is_fullest(worker) for worker in range(3)] == [True, False, False]  # Worker 2 takes none.
    board.set_connections(1, 2)
    assert not board.is_fullest(0)


def test_who_says_nothing_for_a_while_counts_as_standing_still(board: Board, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(boards, "_now_ms", lambda: 10_000)
    board.beat(0)
    monkeypatch.setattr(boards, "_now_ms", lambda: 11_400)
    assert board.accepts(0)
    monkeypatch.setattr(boards, "_now_ms", lambda: 11_500)
    assert not board.accepts(0)
