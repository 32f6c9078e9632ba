"""Requests that come twice, late, out of order or all at once, over a kill: each is applied once."""

from __future__ import annotations

import threading

import grpc
import numpy as np
from tests.journal.support import push_request

from rowbank.errors import from_rpc_error

CLIENTS, PUSHES, KEYS = 3, 60, 20


def send_all(wire, requests, rng, answered):
    """Sends every request, in an order of its own; notes which were answered, and gives up when the server is gone."""
    for place in rng.permutation(len(requests)):
        try:
            wire.rows.Push(requests[place])
        except grpc.RpcError as error:
            if not from_rpc_error(error).retryable:
                raise
            return
        answered.add(int(place))


def in_parallel(senders):
    threads = [threading.Thread(target=send_all, args=sender) for sender in senders]
    for thread in threads:
        thread.start()
    return threads


def test_duplicated_delayed_and_reordered_requests_are_applied_once(start_ps, connect):
    rng = np.random.default_rng(11)
    server = start_ps("--flush-interval-s", "0.02")
    connect(server.target).create("t", 1)
    requests, expected = [], np.zeros(KEYS)
    for client in range(CLIENTS):
        for sequence in range(1, PUSHES + 1):
            keys = np.unique(rng.integers(0, KEYS, 5))
            expected[keys] += 1
            requests.append(
                push_request("t", keys.tolist(), -np.ones((len(keys), 1)), sequence=sequence, client=f"c{client}")
            )
    answered: set[int] = set()
    threads = in_parallel(
        [(connect(server.target), requests, np.random.default_rng(seed), answered) for seed in range(4)]
    )
    while len(answered) < len(requests) // 2:
        threads[0].join(0.001)
    server.kill()
    for thread in threads:
        thread.join(30)
    again = start_ps()
    for thread in in_parallel(
        [(connect(again.target), requests, np.random.default_rng(seed), answered) for seed in range(4, 8)]
    ):
        thread.join(60)
    assert len(answered) == len(requests)
    wire = connect(again.target)
    assert all(wire.rows.Push(request).repeated_request for request in requests)
    assert wire.pull("t", list(range(KEYS)), dim=1)[0][:, 0].tolist() == expected.tolist()
