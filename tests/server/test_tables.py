"""TableService: the life of tables, and specs that are refused."""

from __future__ import annotations

import pytest
from tests.server.support import adam, i64, refused, sgd, uniform

from rowbank.errors import InvalidSpec, TableExists, TableNotFound
from rowbank_protos.v1 import common_pb2, rows_pb2, tables_pb2

Optimizer, Initializer, Eviction = tables_pb2.Optimizer, tables_pb2.Initializer, tables_pb2.Eviction


def request(name: str, dim: int = 4, *, exist_ok: bool = False, **fields) -> tables_pb2.CreateTableRequest:
    return tables_pb2.CreateTableRequest(spec=tables_pb2.TableSpec(name=name, dim=dim, **fields), exist_ok=exist_ok)


def test_create_answers_the_spec_with_all_it_left_open(wire, table_name):
    answer = wire.tables.CreateTable(request(table_name))
    assert answer.created
    spec = answer.table.spec
    assert spec.value_dtype == common_pb2.DATA_TYPE_FLOAT32
    assert spec.initializer.WhichOneof("kind") == "zeros"
    assert spec.optimizer.sgd.learning_rate == pytest.approx(0.01)
    assert spec.durability == common_pb2.DURABILITY_JOURNALED
    assert spec.admission.min_count == 1
    assert spec.eviction == Eviction(policy=Eviction.POLICY_NONE, low_watermark=0.9)
    assert (answer.table.bucket_count, answer.table.rows, answer.table.step) == (256, 0, 0)
    assert wire.tables.GetTable(tables_pb2.GetTableRequest(name=table_name)).table == answer.table


def test_tables_are_listed_by_name(wire, table_name):
    for suffix in ("-b", "-a"):
        wire.create(table_name + suffix)
    names = [info.spec.name for info in wire.tables.ListTables(tables_pb2.ListTablesRequest()).tables]
    assert names == sorted(names)
    assert {table_name + "-a", table_name + "-b"} <= set(names)


def test_create_again_needs_exist_ok_and_an_equal_spec(wire, table_name):
    first = wire.tables.CreateTable(request(table_name, optimizer=adam()))
    with refused(TableExists, table_name):
        wire.tables.CreateTable(request(table_name, optimizer=adam()))
    again = wire.tables.CreateTable(request(table_name, optimizer=adam(), exist_ok=True))
    assert not again.created
    assert again.table.table_id == first.table.table_id
    with refused(TableExists, "another spec", "dim", "optimizer"):
        wire.tables.CreateTable(request(table_name, 8, exist_ok=True))


def test_drop_takes_the_rows_with_it(wire, table_name):
    wire.create(table_name)
    wire.push(table_name, [1], [[1, 1]])
    assert wire.tables.DropTable(tables_pb2.DropTableRequest(name=table_name)).dropped
    with refused(TableNotFound, table_name):
        wire.size(table_name)
    wire.create(table_name)
    assert wire.size(table_name) == 0


def test_drop_of_a_missing_table(wire):
    with refused(TableNotFound, "'no-such'", "known tables"):
        wire.tables.DropTable(tables_pb2.DropTableRequest(name="no-such"))
    assert not wire.tables.DropTable(tables_pb2.DropTableRequest(name="no-such", missing_ok=True)).dropped


def test_update_changes_the_numbers_of_the_optimizer(wire, table_name):
    wire.create(table_name, optimizer=sgd(1.0))
    wire.push(table_name, [1], [[1, 1]])
    spec = tables_pb2.TableSpec(name=table_name, dim=2, optimizer=sgd(0.5))
    assert wire.tables.UpdateTable(tables_pb2.UpdateTableRequest(spec=spec)).table.spec.optimizer == sgd(0.5)
    wire.push(table_name, [1], [[1, 1]])
    assert wire.pull(table_name, [1])[0].tolist() == [[-1.5, -1.5]]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"dim": 3, "optimizer": sgd(1.0)}, "dim"),
        ({"optimizer": adam()}, "optimizer"),
        ({"optimizer": sgd(1.0), "initializer": uniform()}, "initializer"),
        ({"optimizer": sgd(1.0), "track_reads": True}, "track_reads"),
    ],
)
def test_update_refuses_what_stored_rows_depend_on(wire, table_name, fields, field):
    created = wire.create(table_name)
    with refused(InvalidSpec, field):
        spec = tables_pb2.TableSpec(**{"name": table_name, "dim": 2, **fields})
        wire.tables.UpdateTable(tables_pb2.UpdateTableRequest(spec=spec))
    assert wire.tables.GetTable(tables_pb2.GetTableRequest(name=table_name)).table.spec == created.spec


@pytest.mark.parametrize(
    ("name", "fields", "words"),
    [
        ("", {}, ("table name", "''")),
        ("white space", {}, ("table name", "'white space'")),
        ("#generation", {}, ("table name",)),
        ("x" * 129, {}, ("1 to 128 characters",)),
        ("t", {"dim": 0}, ("dim", "1 to 4096", "got 0")),
        ("t", {"dim": 4097}, ("dim", "got 4097")),
        ("t", {"value_dtype": 9}, ("value_dtype", "got 9")),
        ("t", {"initializer": Initializer(uniform=Initializer.Uniform(low=1, high=0))}, ("uniform.low", "at most")),
        ("t", {"initializer": Initializer(normal=Initializer.Normal(stddev=-1))}, ("normal.stddev", "got -1")),
        ("t", {"initializer": Initializer(constant=Initializer.Constant(value=float("nan")))}, ("constant.value",)),
        ("t", {"optimizer": sgd(-0.1)}, ("sgd.learning_rate", "at least 0")),
        ("t", {"optimizer": sgd(float("inf"))}, ("sgd.learning_rate", "finite")),
        ("t", {"optimizer": Optimizer(adam=Optimizer.Adam(beta_1=1.0))}, ("adam.beta_1", "in [0, 1)")),
        ("t", {"optimizer": Optimizer(adam=Optimizer.Adam(beta_1=0.9))}, ("adam.epsilon", "above 0")),
        ("t", {"optimizer": Optimizer(sgd=Optimizer.SGD(), clip_value=-1)}, ("optimizer.clip_value",)),
        ("t", {"admission": tables_pb2.Admission(min_count=256)}, ("admission.min_count", "at most 255", "got 256")),
        ("t", {"eviction": Eviction(policy=9)}, ("eviction.policy", "got 9")),
        ("t", {"eviction": Eviction(max_rows=9)}, ("eviction.max_rows", "policy", "got 9")),
        ("t", {"eviction": Eviction(policy=Eviction.POLICY_NONE, max_rows=9)}, ("eviction.max_rows", "got 9")),
        ("t", {"eviction": Eviction(low_watermark=1.5)}, ("eviction.low_watermark", "got 1.5")),
        ("t", {"eviction": Eviction(ttl_s=-1)}, ("eviction.ttl_s", "got -1")),
        ("t", {"frequency_half_life_s": -1}, ("frequency_half_life_s",)),
        ("t", {"durability": 9}, ("durability", "RELAXED, JOURNALED or SYNCED", "got 9")),
    ],
)
def test_bad_specs_are_refused_and_create_nothing(wire, name, fields, words):
    before = wire.tables.ListTables(tables_pb2.ListTablesRequest())
    with refused(InvalidSpec, *words):
        wire.tables.CreateTable(request(name, **{"dim": 4, **fields}))
    assert wire.tables.ListTables(tables_pb2.ListTablesRequest()) == before


@pytest.mark.parametrize("kind", [field.name for field in Optimizer.DESCRIPTOR.oneofs_by_name["kind"].fields])
def test_every_optimizer_trains(wire, table_name, kind):
    """A gradient of ones moves every value of the row down, whatever the rule."""
    numbers = {
        "learning_rate": 0.1, "momentum": 0.9, "initial_accumulator": 0.1, "epsilon": 1e-7, "beta_1": 0.9,
        "beta_2": 0.999, "weight_decay": 0.01, "rho": 0.9, "learning_rate_power": -0.5,
    }  # fmt: skip
    known = {field.name for field in Optimizer.DESCRIPTOR.fields_by_name[kind].message_type.fields}
    optimizer = Optimizer(**{kind: {name: value for name, value in numbers.items() if name in known}})
    wire.create(table_name, optimizer=optimizer)
    wire.push(table_name, [5], [[1, 1]])
    assert (wire.pull(table_name, [5])[0] < 0).all()


def test_half_life_and_tracked_reads_are_accepted(wire, table_name):
    spec = wire.create(table_name, frequency_half_life_s=3600.0, track_reads=True)
    assert (spec.spec.frequency_half_life_s, spec.spec.track_reads) == (3600.0, True)
    for _ in range(3):
        wire.push(table_name, [1], [[1, 1]])
    answer = wire.rows.Lookup(rows_pb2.LookupRequest(table=table_name, keys=i64(1), with_metadata=True))
    assert int.from_bytes(answer.frequency, "little") == 3


def test_requests_to_a_table_need_not_follow_its_creation(wire, table_name):
    with refused(TableNotFound, table_name):
        wire.rows.Pull(rows_pb2.PullRequest(tables=[rows_pb2.TableKeys(table=table_name)]))
