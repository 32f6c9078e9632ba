"""Keys reach the shard that owns them, in requests that keep the limits, and positions lead back."""

from __future__ import annotations

import numpy as np
import pytest

from rowbank import hashing
from rowbank.calls import methods, routing
from rowbank.calls.connect import parse_targets
from rowbank.calls.methods import Method
from rowbank.calls.routing import Layout, Limits
from rowbank.errors import InvalidRequest, RequestTooLarge


def test_one_shard_gets_everything_in_order():
    keys = np.array([3, 1, 2])
    ((shard, piece),) = routing.by_shard("t", keys, Layout(1, 256))
    assert shard == 0
    assert piece.whole
    assert piece.keys is keys


@pytest.mark.parametrize("shard_count", [2, 3, 7])
def test_every_key_goes_to_its_owner_once(shard_count):
    keys = np.random.default_rng(1).permutation(1000)
    seen = np.full(1000, -1)
    for shard, piece in routing.by_shard("t", keys, Layout(shard_count, 256)):
        assert (hashing.shard_of(piece.keys, shard_count=shard_count) == shard).all()
        assert isinstance(piece.where, np.ndarray)
        assert (np.diff(piece.where) > 0).all()  # The order given is kept within a shard.
        assert (piece.of(keys) == piece.keys).all()
        seen[piece.where] = piece.keys
    assert (seen == keys).all()


def test_no_keys_go_nowhere():
    assert routing.by_shard("t", np.zeros(0, np.int64), Layout(2, 256)) == []


@pytest.mark.parametrize("shard_count", [1, 2])
def test_requests_keep_the_limits_and_the_order(shard_count):
    keys = np.random.default_rng(2).permutation(1000)
    pieces = [(piece, 100) for _, piece in routing.by_shard("t", keys, Layout(shard_count, 256))]
    requests = list(routing.requests(pieces, Limits(max_keys=300, max_bytes=1024 + 20_000)))
    seen = np.full(1000, -1)
    for request in requests:
        assert sum(len(piece.keys) for piece in request) <= 200  # 20000 bytes are 200 rows.
        for piece in request:
            seen[piece.where] = piece.keys
    assert (seen == keys).all()
    assert len(requests) <= 7


def test_tables_share_a_request():
    pieces = [(routing.by_shard(name, np.arange(4), Layout(1, 256))[0][1], 8) for name in "ab"]
    requests = list(routing.requests(pieces, Limits(max_keys=6, max_bytes=1 << 20)))
    assert [[(piece.table, piece.keys.tolist()) for piece in request] for request in requests] == [
        [("a", [0, 1, 2, 3]), ("b", [0, 1])],
        [("b", [2, 3])],
    ]


def test_row_beyond_the_message_limit_is_refused():
    piece = routing.by_shard("t", np.arange(4), Layout(1, 256))[0][1]
    with pytest.raises(RequestTooLarge, match=r"one row of 5000 bytes .*max_message_bytes"):
        list(routing.requests([(piece, 5000)], Limits(max_keys=10, max_bytes=4096)))


def test_methods_are_those_of_the_services():
    known = [value for value in vars(methods).values() if isinstance(value, Method)]
    for method in known:
        file = method.request.DESCRIPTOR.file
        described = file.services_by_name[method.service].methods_by_name[method.name]
        assert method.path == f"/{described.containing_service.full_name}/{described.name}"
        assert method.request.DESCRIPTOR is described.input_type
        assert method.answer.DESCRIPTOR is described.output_type


def test_targets(monkeypatch):
    monkeypatch.delenv("ROWBANK_TARGETS", raising=False)
    assert parse_targets(None) == ["127.0.0.1:7700"]
    assert parse_targets("a:1, b:2") == ["a:1", "b:2"]
    assert parse_targets(["a:1", "unix:/run/rowbank.sock"]) == ["a:1", "unix:/run/rowbank.sock"]
    monkeypatch.setenv("ROWBANK_TARGETS", "c:3,d:4")
    assert parse_targets(None) == ["c:3", "d:4"]


@pytest.mark.parametrize("targets", ["", "a:1,,b:2", [], "a:1,a:1"])
def test_bad_targets_are_refused(targets):
    with pytest.raises(InvalidRequest, match="targets: expected distinct addresses"):
        parse_targets(targets)
