"""What the parent tells a worker, and how the two talk."""

from __future__ import annotations

import json
import socket
from dataclasses import asdict, dataclass
from typing import Any

BOARD = "board"  # Its file in the folder.
_LONGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class Plan:
    """One worker's part.

    Attributes:
        worker: its number, from 0.
        workers: how many there are.
        settings: all settings, checked, as JSON has them.
        listener: descriptor of the listening socket of HTTP.
        folder: private to the parent and its workers; the board and their sockets are in it.
        starts: how often this worker was started, this time included.
        wait_s: the longest that it waits for a model before it takes connections; 0 while nobody has one.
    """

    worker: int
    workers: int
    settings: dict[str, Any]
    listener: int
    folder: str
    starts: int
    wait_s: float


def send(control: socket.socket, plan: Plan) -> None:
    """Hands a plan to a worker that is about to start."""
    control.sendall(json.dumps(asdict(plan)).encode() + b"\n")


def receive(control: socket.socket) -> Plan:
    """The plan of this worker.

    Raises:
        EOFError: the parent ended first.
    """
    data = b""
    while not data.endswith(b"\n"):
        piece = control.recv(65536)
        if not piece or len(data) > _LONGEST:
            raise EOFError
        data += piece
    return Plan(**json.loads(data))
