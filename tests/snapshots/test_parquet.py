"""Tables as Parquet files: out of a real server and into one, bit for bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pyarrow.parquet
import pytest
from tests.snapshots.conftest import content, train

from rowbank import SGD, Adagrad, Client, RowwiseAdagrad, TableSpec, parquet
from rowbank.errors import DimMismatch, InvalidFile, TableNotFound


def test_round_trip_is_bit_for_bit(client, adam_table, tmp_path):
    path = str(tmp_path / "table.parquet")
    report = parquet.export_table(adam_table, path)
    before = content(adam_table)
    assert (report.rows, report.bytes) == (len(before), os.path.getsize(path))
    copy = f"{adam_table.name}-copy"
    assert parquet.import_table(client, path, copy).created
    assert content(client.table(copy)) == before
    assert client.table(copy).spec.optimizer == adam_table.spec.optimizer
    again = parquet.import_table(client, path, copy)
    assert (again.created, again.rows) == (False, len(before))
    assert content(client.table(copy)) == before


def test_training_goes_on_as_if_it_had_not_been_moved(client, adam_table, tmp_path):
    """Adam's bias correction needs the step too, which the server counts here."""
    path = str(tmp_path / "table.parquet")
    parquet.export_table(adam_table, path)
    before = content(adam_table)
    adam_table.clear()
    client.drop_table(adam_table.name)
    parquet.import_table(client, path)
    moved = client.table(adam_table.name)
    assert content(moved) == before
    keys = np.array(sorted(before)[:50])
    gradients = np.random.default_rng(2).standard_normal((50, 6), np.float32)
    assert moved.push(keys, gradients) == 4  # Three pushes before.


def test_columns_are_what_the_docs_say(adam_table, tmp_path):
    path = tmp_path / "table.parquet"
    parquet.export_table(adam_table, str(path))
    schema = pyarrow.parquet.read_schema(path)
    assert [(field.name, str(field.type)) for field in schema][:4] == [
        ("key", "int64"),
        ("values", "fixed_size_list<element: float not null>[6]"),
        ("frequency", "uint32"),
        ("last_used", "uint32"),
    ]
    assert [field.name for field in schema][4:] == ["slot_m", "slot_v", "slot_v_hat"]
    assert json.loads(schema.metadata[b"rowbank.spec"])["name"] == adam_table.name
    assert schema.metadata[b"rowbank.format"] == b"1"


@pytest.mark.parametrize("optimizer", [SGD(0.1), RowwiseAdagrad(0.1)])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_every_width_of_state_and_type_of_value(client, table_name, tmp_path, optimizer, dtype):
    table = client.create_table(TableSpec(table_name, dim=3, value_dtype=dtype, optimizer=optimizer))
    train(table, seed=4)
    before = content(table)
    path = str(tmp_path / "table.parquet")
    parquet.export_table(table, path)
    client.drop_table(table_name)
    parquet.import_table(client, path)
    assert content(client.table(table_name)) == before


def test_empty_table(client, table_name, tmp_path):
    client.create_table(TableSpec(table_name, dim=3, optimizer=Adagrad(0.1)))
    path = str(tmp_path / "table.parquet")
    assert parquet.export_table(client.table(table_name), path).rows == 0
    client.drop_table(table_name)
    report = parquet.import_table(client, path)
    assert (report.created, report.rows, client.table(table_name).size()) == (True, 0, 0)


def test_rows_are_written_in_groups_of_bounded_size(client, table_name, tmp_path):
    """2048 floats a row: a group of 16 MiB holds 2044 rows."""
    table = client.create_table(TableSpec(table_name, dim=2048))
    for start in range(0, 5000, 1000):
        table.upsert(np.arange(start, start + 1000), np.full((1000, 2048), start, np.float32))
    seen = []
    path = tmp_path / "table.parquet"
    parquet.export_table(table, str(path), progress=lambda done, total: seen.append((done, total)))
    metadata = pyarrow.parquet.read_metadata(path)
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [2044, 2044, 912]
    assert seen[-1] == (5000, 5000)
    client.drop_table(table_name)
    parquet.import_table(client, str(path))
    assert client.table(table_name).lookup([4999]).values[0, 0] == 4000.0
    client.drop_table(table_name)


def test_url_of_another_file_system(client, adam_table):
    url = f"memory://exports/{adam_table.name}.parquet"
    parquet.export_table(adam_table, url)
    before = content(adam_table)
    adam_table.clear()
    assert parquet.import_table(client, url).path == url
    assert content(adam_table) == before


def test_two_shards_and_one(client, adam_table, start_ps, tmp_path):
    path, back = str(tmp_path / "one.parquet"), str(tmp_path / "two.parquet")
    parquet.export_table(adam_table, path)
    shards = [start_ps("--shard", f"{shard}/2") for shard in range(2)]
    with Client([shard.target for shard in shards]) as two:
        parquet.import_table(two, path)
        assert content(two.table(adam_table.name)) == content(adam_table)
        parquet.export_table(two.table(adam_table.name), back)
    copy = parquet.import_table(client, back, f"{adam_table.name}-back")
    assert content(client.table(copy.table)) == content(adam_table)


def test_other_dim_or_optimizer_is_refused_before_anything_is_stored(client, adam_table, tmp_path):
    path = str(tmp_path / "table.parquet")
    parquet.export_table(adam_table, path)
    wide = client.create_table(TableSpec(f"{adam_table.name}-wide", dim=7))
    with pytest.raises(DimMismatch, match=r"has dim 7, the file has rows of 6"):
        parquet.import_table(client, path, wide.name)
    plain = client.create_table(TableSpec(f"{adam_table.name}-plain", dim=6, optimizer=Adagrad(0.1)))
    with pytest.raises(InvalidFile, match=r"accumulator\[6\], the file has m\[6\], v\[6\]"):
        parquet.import_table(client, path, plain.name)
    assert (wide.size(), plain.size()) == (0, 0)


@pytest.mark.parametrize("damage", ["torn", "changed", "empty", "foreign", "missing"])
def test_damaged_file_is_named(client, adam_table, tmp_path, damage):
    path = tmp_path / "table.parquet"
    parquet.export_table(adam_table, str(path))
    data = bytearray(path.read_bytes())
    if damage == "torn":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "changed":
        data[len(data) // 3] ^= 0x10
        path.write_bytes(data)
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "foreign":
        pyarrow.parquet.write_table(pyarrow.table({"key": [1]}), path)
    else:
        path.unlink()
    with pytest.raises(InvalidFile, match=r"table\.parquet: "):
        parquet.import_table(client, str(path), f"{adam_table.name}-{damage}")


def test_failed_export_leaves_nothing(client, table_name, tmp_path):
    table = client.create_table(TableSpec(table_name, dim=3))
    path = tmp_path / "table.parquet"
    path.write_bytes(b"the one before")
    client.drop_table(table_name)
    with pytest.raises(TableNotFound):
        parquet.export_table(table, str(path))
    with pytest.raises(InvalidFile, match=r"cannot be written"):
        parquet.export_table(client.create_table(TableSpec(table_name, dim=3)), str(path / "below-a-file"))
    assert [entry.name for entry in tmp_path.iterdir()] == ["table.parquet"]
    assert path.read_bytes() == b"the one before"


def test_commands(rowbank, adam_table, tmp_path):
    path = str(tmp_path / "table.parquet")
    exported = json.loads(rowbank("export", adam_table.name, path, "-o", "json").stdout)
    rows, size = adam_table.size(), os.path.getsize(path)
    assert exported == {"table": adam_table.name, "path": path, "rows": rows, "bytes": size}
    imported = json.loads(rowbank("import", f"{adam_table.name}-2", path, "-o", "json").stdout)
    assert imported == {"table": f"{adam_table.name}-2", "path": path, "rows": rows, "created": True}
    none = tmp_path / "none"
    assert rowbank("import", "nowhere", str(none), code=1).stderr == f"error: {none}: no such file\n"
    assert rowbank("import", "nowhere", code=2).stderr


@pytest.mark.parametrize("package", ["pyarrow", "fsspec"])
def test_missing_package_is_one_clear_line(target, adam_table, tmp_path, package):
    """A real interpreter in which the package cannot be found."""
    program = f"""
import sys
sys.modules[{package!r}] = None
from rowbank.cli import main
sys.argv = ["rowbank", "export", {adam_table.name!r}, {str(tmp_path / "x.parquet")!r}, "--target", {target!r}]
main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    expected = f"error: {package} is not installed, and Parquet files need it: pip install 'rowbank[parquet]'\n"
    assert (done.returncode, done.stderr) == (1, expected)


def test_a_folder_is_no_file(rowbank, client, adam_table, tmp_path, monkeypatch):
    """Refused before a row is read; nothing is left in the folder."""
    folder = tmp_path / "dd"
    folder.mkdir()
    monkeypatch.setattr(type(adam_table), "export", lambda *_, **__: pytest.fail("the table was read"))
    for path in (folder, f"{folder}/"):
        with pytest.raises(
            InvalidFile, match="dd: expected the name of a file, got a folder; name a file in it, such as"
        ):
            parquet.export_table(adam_table, str(path))
    with pytest.raises(InvalidFile, match="/new/: expected the name of a file, got that of a folder"):
        parquet.export_table(adam_table, f"{tmp_path}/new/")
    with pytest.raises(InvalidFile, match="dd: expected a file, got a folder; name a file in it"):
        parquet.import_table(client, str(folder))
    assert "expected the name of a file, got a folder" in rowbank("export", adam_table.name, str(folder), code=1).stderr
    assert list(tmp_path.rglob("*")) == [folder]
