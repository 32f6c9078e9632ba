"""Connecting, the life of tables, limits, and what is refused; against real servers."""

from __future__ import annotations

import socket
import threading

import numpy as np
import pytest
from tests.client.specs import INITIALIZERS, OPTIMIZERS

import rowbank
from rowbank import SGD, Adagrad, Client, TableSpec, errors
from rowbank.calls import methods
from rowbank_protos import columns
from rowbank_protos.v1 import rows_pb2


@pytest.fixture
def table(client, table_name):
    return client.create_table(TableSpec(table_name, dim=4, optimizer=SGD(1.0)))


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def test_create_get_list_describe_drop(client, table_name):
    spec = TableSpec(table_name, dim=4, optimizer=Adagrad(0.1))
    table = client.create_table(spec)
    assert (table.name, table.dim, table.spec.optimizer) == (table_name, 4, Adagrad(0.1))
    assert client.create_table(spec, exist_ok=True).spec == table.spec
    assert client.table(table_name).spec == table.spec
    table.upsert([1, 2], np.ones((2, 4), np.float32))
    info = client.table_info(table_name)
    assert (info.rows, info.spec, info.bucket_count) == (2, table.spec, 256)
    assert info.bytes > 2 * 4 * 8
    assert table_name in [info.spec.name for info in client.list_tables()]
    assert client.drop_table(table_name)
    assert not client.drop_table(table_name, missing_ok=True)
    assert table_name not in [info.spec.name for info in client.list_tables()]


def test_table_that_exists_is_refused_unless_equal(client, table_name):
    client.create_table(TableSpec(table_name, dim=4))
    with pytest.raises(errors.TableExists):
        client.create_table(TableSpec(table_name, dim=4))
    with pytest.raises(errors.TableExists, match="dim"):
        client.create_table(TableSpec(table_name, dim=5), exist_ok=True)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda optimizer: optimizer.kind)
def test_server_takes_every_optimizer_as_it_is(client, table_name, optimizer):
    table = client.create_table(TableSpec(table_name, dim=2, optimizer=optimizer))
    assert table.spec.optimizer == optimizer
    assert table.push([1], [[1.0, -1.0]]) == 1
    first = table.pull([1])
    assert first[0, 0] < 0.0 < first[0, 1]


@pytest.mark.parametrize("initializer", INITIALIZERS, ids=lambda initializer: initializer.kind)
def test_server_takes_every_initializer_as_it_is(client, table_name, initializer):
    table = client.create_table(TableSpec(table_name, dim=2, initializer=initializer))
    assert table.spec.initializer == initializer
    assert table.describe_row(5).values.tolist() == table.pull(5).tolist()


def test_update_changes_the_learning_rate(client, table_name):
    table = client.create_table(TableSpec(table_name, dim=1, optimizer=SGD(1.0)))
    table.push([1], [[1.0]])
    assert client.update_table(TableSpec(table_name, dim=1, optimizer=SGD(0.25))).spec.optimizer == SGD(0.25)
    table.push([1], [[1.0]])
    assert table.pull([1]).tolist() == [[-1.25]]
    with pytest.raises(errors.InvalidSpec, match="dim"):
        client.update_table(TableSpec(table_name, dim=2, optimizer=SGD(0.25)))


def test_unknown_table_is_an_error_of_every_verb(client):
    with pytest.raises(errors.TableNotFound, match="'no-such-table'"):
        client.table("no-such-table")
    with pytest.raises(errors.TableNotFound):
        client.pull({"no-such-table": [1]})
    with pytest.raises(errors.TableNotFound):
        client.push({"no-such-table": ([1], [[1.0]])})
    with pytest.raises(errors.TableNotFound):
        client.drop_table("no-such-table")
    with pytest.raises(errors.TableNotFound):
        client.stats("no-such-table")


def test_dropped_table_is_an_error_and_a_new_one_is_found(client, table_name, target):
    old = client.create_table(TableSpec(table_name, dim=4))
    with Client(target) as other:
        other.drop_table(table_name)
        for call in (old.size, old.stats, lambda: old.pull([1]), lambda: old.lookup([1]), lambda: list(old.export())):
            with pytest.raises(errors.TableNotFound):
                call()
        other.create_table(TableSpec(table_name, dim=2))
    assert client.pull({table_name: [1]})[table_name].shape == (1, 2)


def test_table_made_anew_with_another_dim_is_noticed(client, table_name, target):
    client.create_table(TableSpec(table_name, dim=4))
    with Client(target) as other:
        other.drop_table(table_name)
        other.create_table(TableSpec(table_name, dim=2))
    with pytest.raises(errors.DimMismatch, match="made anew"):
        client.pull({table_name: [1]})
    assert client.pull({table_name: [1]})[table_name].shape == (1, 2)


@pytest.mark.parametrize(
    ("call", "cls", "message"),
    [
        (lambda t: t.pull([0.5]), errors.InvalidRequest, "keys: expected integers, got dtype float64"),
        (lambda t: t.pull([2**63]), errors.InvalidRequest, "keys are int64"),
        (lambda t: t.push([1], [[1.0] * 3]), errors.DimMismatch, "has dim 4, got rows of 3"),
        (lambda t: t.push([1, 2], [[1.0] * 4]), errors.InvalidRequest, "expected shape [2, 4]"),
        (lambda t: t.push([1], [[1] * 4]), errors.InvalidRequest, "expected a floating dtype, got int64"),
        (lambda t: t.push([1], [[np.nan] * 4]), errors.NonFiniteGradient, "got NaN or infinity in row 0"),
        (lambda t: t.push([1], [[1.0] * 4], counts=[0]), errors.InvalidRequest, "counts: expected 1 to"),
        (lambda t: t.push([1], [[1.0] * 4], step=0), errors.InvalidRequest, "step: expected an integer of at least 1"),
        (lambda t: t.push([1], [[1.0] * 4], learning_rate=-1.0), errors.InvalidRequest, "learning_rate: expected"),
        (lambda t: t.push([1], [[1.0] * 4], max_norm=0.0), errors.InvalidRequest, "max_norm: expected"),
        (lambda t: t.upsert([1], [[np.inf] * 4]), errors.NonFiniteGradient, "values: expected finite float32"),
        (lambda t: t.upsert([1], [[1.0] * 5]), errors.DimMismatch, "has dim 4, got rows of 5"),
        (
            lambda t: t.accumulate([1], [[1.0] * 4], [1]),
            errors.InvalidRequest,
            "exists: expected bool, got dtype int64",
        ),
        (lambda t: t.restrict(-1), errors.InvalidRequest, "num_reserved: expected an integer of at least 0, got -1"),
        (lambda t: t.restrict(1, by="age"), errors.InvalidRequest, "by: expected one of frequency, last_used"),
        (lambda t: t.top(0), errors.InvalidRequest, "limit: expected an integer of at least 1, got 0"),
        (lambda t: t.describe_row([1, 2]), errors.InvalidRequest, "key: expected one integer, got shape [2]"),
        (
            lambda t: list(t.export(chunk_rows=0)),
            errors.InvalidRequest,
            "chunk_rows: expected an integer of at least 1",
        ),
    ],
)
def test_bad_argument_is_refused_and_changes_nothing(table, call, cls, message):
    table.upsert([1], [[7.0] * 4])
    with pytest.raises(cls) as raised:
        call(table)
    assert message in str(raised.value)
    found = table.lookup([1], with_metadata=True)
    assert found.values.tolist() == [[7.0] * 4]
    assert found.frequency.tolist() == [0]
    assert table.size() == 1
    assert table.stats().step == 0


def push_request(pushed, **changes) -> rows_pb2.PushRequest:
    """A push of two rows of ones, with fields of its table replaced."""
    fields = {
        "table": pushed.name,
        "keys": columns.pack_keys(np.array([1, 2])),
        "gradients": columns.pack_values(np.ones((2, 4), np.float32)),
        **changes,
    }
    return rows_pb2.PushRequest(tables=[rows_pb2.TableGradients(**fields)])


@pytest.mark.parametrize(
    ("changes", "cls"),
    [
        ({"keys": b"1234567"}, errors.InvalidRequest),
        ({"gradients": bytes(31)}, errors.InvalidRequest),
        ({"gradients": bytes(2 * 3 * 4)}, errors.DimMismatch),
        ({"counts": b"123"}, errors.InvalidRequest),
        ({"gradients": np.full((2, 4), np.nan, np.float32).tobytes()}, errors.NonFiniteGradient),
        ({"learning_rate": -1.0}, errors.InvalidRequest),
        ({"table": "no-such-table"}, errors.TableNotFound),
    ],
)
def test_server_refuses_what_a_careless_client_sends(client, table, changes, cls):
    """What this client checks itself, sent past its checks: the server's class comes back, and nothing was done."""
    with pytest.raises(cls):
        client.calls.transport.one(methods.PUSH, 0, push_request(table, **changes))
    assert table.size() == 0


def test_push_to_several_tables_is_all_or_nothing(client, table):
    good, bad = push_request(table), push_request(table, keys=b"1")
    request = rows_pb2.PushRequest(tables=[*good.tables, *bad.tables])
    with pytest.raises(errors.InvalidRequest):
        client.calls.transport.one(methods.PUSH, 0, request)
    assert table.size() == 0


def test_ten_million_keys_name_the_limit(table):
    keys = np.zeros(10_000_000, np.int64)
    for call in (table.pull, table.lookup, table.remove, table.touch):
        with pytest.raises(errors.RequestTooLarge, match=r"at most 4194304 in one call .*got 10000000; split the call"):
            call(keys)


def test_push_beyond_float16_is_refused(target, table):
    with Client(target, wire_dtype="float16") as half, pytest.raises(errors.NonFiniteGradient, match=r"65504.0 to fit"):
        half.table(table.name).push([1, 1], np.full((2, 4), 40_000, np.float32))
    assert table.size() == 0


def test_large_calls_are_split_and_a_large_push_is_refused(start_ps):
    """A server that takes 100 keys or 64 KiB a request: reads and store verbs are cut to it, a push is not."""
    server = start_ps("--max-keys-per-request", "100", "--max-message-bytes", "65536")
    keys = np.random.default_rng(1).permutation(1000)
    values = np.random.default_rng(2).standard_normal((1000, 300)).astype(np.float32)
    with Client(server.target) as client:
        wide = client.create_table(TableSpec("wide", dim=300, optimizer=SGD(1.0)))
        assert wide.upsert(keys, values) == 1000
        assert (wide.pull(keys) == values).all()
        assert (wide.lookup(keys).values == values).all()
        assert wide.touch(keys) == 1000
        with pytest.raises(errors.RequestTooLarge, match=r"101 distinct keys .* 100 keys .*max_keys_per_request"):
            client.create_table(TableSpec("one", dim=1)).push(np.arange(101), np.ones((101, 1), np.float32))
        with pytest.raises(errors.RequestTooLarge, match=r"push: 60 distinct keys in 72480 bytes .* 65536 bytes"):
            wide.push(keys[:60], values[:60])
        wide.push(keys[:50], values[:50])
        assert (wide.pull(keys[:50]) == 0.0).all()
        assert (wide.pull(keys[50:]) == values[50:]).all()
        assert wide.remove(keys) == 1000


def test_connecting_to_nobody_names_the_target():
    target = f"127.0.0.1:{free_port()}"
    with pytest.raises(errors.ShardUnavailable, match=f"cannot connect to {target}: connection refused"):
        Client(target, wait_for_ready=False)
    with pytest.raises(errors.ShardUnavailable, match=f"cannot connect to {target}: .* is the server running"):
        Client(target, connect_timeout_s=0.3)


def test_connecting_waits_for_the_server(start_ps):
    """The client is made first; the server comes while it waits."""
    made: list[Client] = []
    address = f"127.0.0.1:{free_port()}"
    thread = threading.Thread(target=lambda: made.append(Client(address, connect_timeout_s=60.0)))
    thread.start()
    start_ps("--bind", address)
    thread.join()
    with made[0] as client:
        assert client.list_tables() == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timeout_s": 0}, "timeout_s: expected seconds above 0, got 0"),
        ({"connect_timeout_s": float("inf")}, "connect_timeout_s: expected seconds above 0, got inf"),
        ({"wire_dtype": "int8"}, "wire_dtype: data type: expected one of float32, float16, bfloat16, got 'int8'"),
        ({"max_keys_per_call": 0}, "max_keys_per_call: expected an integer of at least 1, got 0"),
        ({"targets": ","}, "targets: expected distinct addresses"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(errors.InvalidRequest) as raised:
        Client(**options)
    assert message in str(raised.value)


def test_target_comes_from_the_environment(target, monkeypatch):
    monkeypatch.setenv("ROWBANK_TARGETS", target)
    with Client() as client:
        (server,) = client.server_info()
    assert (server.target, server.version) == (target, rowbank.__version__)
    assert (server.shard, server.shard_count) == (0, 1)


def test_another_version_is_refused(target, monkeypatch):
    monkeypatch.setattr("rowbank.calls.connect.__version__", "0.2.0")
    with pytest.raises(errors.VersionMismatch, match=r"version 0\.2\.x like this client, got 0\.1\."):
        Client(target)


def test_closed_client_says_so(target):
    client = Client(target)
    client.close()
    client.close()
    for call in (client.list_tables, lambda: client.pull({"t": [1]}), client.flush):
        with pytest.raises(errors.ClientClosed, match="make a new one"):
            call()


def test_flush_writes_changed_rows(client, table):
    table.upsert([1], [[1.0] * 4])
    client.flush()
    assert table.stats().dirty_rows == 0
