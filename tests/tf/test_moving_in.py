"""Rows that TFRA itself wrote, to files and to a real Redis, read without TensorFlow."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from bench.services import running_redis
from bench.tfra_tables import redis_config
from tensorflow_recommenders_addons import dynamic_embedding as de

from rowbank import Adam, Client, TableSpec, tfra_data
from rowbank.errors import DimMismatch, InvalidFile, RowbankError

KEYS = np.array([-(2**62), -1, 0, 1, 7, 2**40, 2**62 + 1], np.int64)
DIM = 5


def rows(dtype=np.float32):
    return np.random.default_rng(3).standard_normal((len(KEYS), DIM)).astype(dtype)


@pytest.fixture
def client(target):
    with Client(target) as connected:
        yield connected


@pytest.fixture
def table(client, table_name):
    yield client.create_table(TableSpec(table_name, dim=DIM, optimizer=Adam(0.01)))
    client.drop_table(table_name)


def variable(name, *, dtype=tf.float32, devices=("/CPU:0",), **options):
    return de.get_variable(
        name, key_dtype=tf.int64, value_dtype=dtype, dim=DIM, initializer=0.0, devices=list(devices), **options
    )


@pytest.mark.parametrize(("dtype", "numpy_dtype"), [(tf.float32, np.float32), (tf.float64, np.float64)])
@pytest.mark.parametrize("devices", [("/CPU:0",), ("/CPU:0", "/CPU:0", "/CPU:0")])
def test_files_of_all_shards(table, sides, tmp_path, dtype, numpy_dtype, devices):
    saved = variable(sides.unique("scope/saved"), dtype=dtype, devices=devices)
    saved.upsert(tf.constant(KEYS), tf.constant(rows(numpy_dtype)))
    saved.save_to_file_system(str(tmp_path))
    value_dtype = np.dtype(numpy_dtype).name
    report = tfra_data.import_files(table, str(tmp_path), value_dtype=value_dtype)
    assert (report.rows, table.size()) == (len(KEYS), len(KEYS))
    read = table.lookup(KEYS, with_metadata=True)
    assert read.found.all()
    assert not read.frequency.any()
    np.testing.assert_array_equal(read.values, rows(numpy_dtype).astype(np.float32))
    with pytest.raises(DimMismatch, match=r"got rows of \d+ bytes"):
        tfra_data.import_files(table, str(tmp_path), value_dtype="float16")


def test_one_table_of_a_folder_is_chosen_by_name(table, sides, tmp_path):
    names = [sides.unique("first"), sides.unique("second")]
    for number, name in enumerate(names):
        saved = variable(name)
        saved.upsert(tf.constant(KEYS), tf.constant(rows() + number))
        saved.save_to_file_system(str(tmp_path))
    with pytest.raises(InvalidFile, match=f"{names[0]}, {names[1]}"):
        tfra_data.import_files(table, str(tmp_path))
    with pytest.raises(InvalidFile, match="got tables: first"):
        tfra_data.import_files(table, str(tmp_path / "third"))
    tfra_data.import_files(table, str(tmp_path / names[1]))
    np.testing.assert_array_equal(table.lookup(KEYS).values, rows() + 1)


def test_missing_shard_and_torn_file_are_named(table, sides, tmp_path):
    saved = variable(sides.unique("parts"), devices=("/CPU:0", "/CPU:0"))
    saved.upsert(tf.constant(KEYS), tf.constant(rows()))
    saved.save_to_file_system(str(tmp_path))
    part = shutil.copytree(tmp_path, tmp_path / "part")
    for path in part.glob("*_mht_2of2*"):
        path.unlink()
    with pytest.raises(InvalidFile, match="2of2 missing"):
        tfra_data.import_files(table, str(part))
    (values,) = tmp_path.glob("*_mht_1of2*-values")
    values.write_bytes(values.read_bytes()[:-1])
    with pytest.raises(InvalidFile, match="expected int64 keys and one row for each"):
        tfra_data.import_files(table, str(tmp_path))
    with pytest.raises(InvalidFile, match="no such folder"):
        tfra_data.import_files(table, str(tmp_path / "none" / "none"))
    assert table.size() == 0


def test_redis_table(table, sides):
    name = sides.unique("kept")
    with running_redis() as port, redis_config(port, tag="version-1") as creator:
        kept = variable(name, kv_creator=creator)
        kept.upsert(tf.constant(KEYS), tf.constant(rows()))
        other = variable(f"{name}_item", kv_creator=creator)
        other.upsert(tf.constant([99], tf.int64), tf.constant(rows()[:1]))
        url = f"redis://127.0.0.1:{port}/0"
        report = tfra_data.import_redis(table, url, model_tag="version-1", name=name)
        assert (report.rows, table.size()) == (len(KEYS), len(KEYS))
        np.testing.assert_array_equal(table.lookup(KEYS).values, rows())
        with pytest.raises(InvalidFile, match="check tag and name"):
            tfra_data.import_redis(table, url, model_tag="version-2", name=name)
        with pytest.raises(DimMismatch, match="20 bytes, which is 10 x float16"):
            tfra_data.import_redis(table, url, model_tag="version-1", name=name, value_dtype="float16")
        np.testing.assert_array_equal(kept.lookup(tf.constant(KEYS)).numpy(), rows())
    with pytest.raises(RowbankError, match=f"127.0.0.1:{port}"):
        tfra_data.import_redis(table, url, model_tag="version-1", name=name)


def test_commands(table, target, sides, tmp_path, capfd, monkeypatch):
    from typer.testing import CliRunner

    from rowbank.cli.app import app

    monkeypatch.setenv("ROWBANK_TARGETS", target)
    saved = variable(sides.unique("cli"))
    saved.upsert(tf.constant(KEYS), tf.constant(rows()))
    saved.save_to_file_system(str(tmp_path))
    done = CliRunner().invoke(app, ["import", table.name, "--tfra-files", str(tmp_path), "-o", "json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["rows"] == len(KEYS)
    done = CliRunner().invoke(app, ["import", table.name, "--tfra-redis", "redis://127.0.0.1:1/0"])
    assert done.exit_code == 2
