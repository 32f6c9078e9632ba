"""What TCP connections carried, as the kernel says."""

from __future__ import annotations

import os
import socket

import pytest
from bench import sockets


@pytest.fixture
def pair():
    """Both ends of a connection over loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        with socket.create_connection(listening.getsockname()) as near:
            far, _ = listening.accept()
            with far:
                yield near, far


def test_bytes_of_both_directions_are_counted(pair):
    near, far = pair
    port = far.getsockname()[1]
    try:
        start = sockets.carried_to([os.getpid()], port)
    except OSError as error:
        pytest.skip(str(error))
    near.sendall(bytes(100_000))
    far.sendall(bytes(7))
    left = 100_000
    while left:
        left -= len(far.recv(left))
    assert near.recv(7, socket.MSG_WAITALL) == bytes(7)
    near.sendall(b"x")  # What was received is acknowledged with it.
    assert far.recv(1) == b"x"
    counted = sockets.carried_to([os.getpid()], port) - start
    assert counted in (100_007, 100_008)  # The last byte's own acknowledgement may be on its way.


def test_connections_of_others_do_not_count(pair):
    near, far = pair
    try:
        mine = sockets.connections_of(os.getpid())
    except OSError as error:
        pytest.skip(str(error))
    port = far.getsockname()[1]
    assert {one.local_port for one in mine} >= {port, near.getsockname()[1]}
    start = sockets.carried([os.getpid()])
    near.sendall(b"abc")
    assert far.recv(3, socket.MSG_WAITALL) == b"abc"
    assert sockets.carried([os.getpid()]) >= start + 3
    assert not [one for one in sockets.connections_of(os.getppid()) if one.local_port == port]


def test_what_callers_of_a_port_send_is_not_what_is_carried_within(pair):
    near, far = pair
    port = far.getsockname()[1]
    try:
        start = sockets.carried_within([os.getpid()], beside_local_port=port)
    except OSError as error:
        pytest.skip(str(error))
    near.sendall(bytes(500))
    left = 500
    while left:
        left -= len(far.recv(left))
    far.sendall(b"x")
    assert near.recv(1) == b"x"  # And with it that the 500 are there.
    assert sockets.carried_within([os.getpid()], beside_local_port=port) - start == 501
