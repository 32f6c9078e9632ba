"""Ids that are texts, as teams have them: in files, in the feature store, on the command line."""

from __future__ import annotations

import subprocess
import sys

from tests.colliding import FIRST, SECOND
from tests.field.case import Case, World

from rowbank import Client, TableSpec
from rowbank.features import FeatureField, FeatureView
from rowbank.text import token_key


def _load(world: World, *files: str) -> str:
    from rowbank_trainer.data.files import InteractionFiles, load_files

    paths = [world.folder / f"{name}.csv" for name in ("train", "test")]
    for path, content in zip(paths, files, strict=True):
        path.write_text(f"user,item\n{content}")
    dataset = load_files(InteractionFiles(train=paths[0], test=paths[1]))
    return "integers" if dataset.user_names is None else ", ".join(sorted(dataset.user_names.values()))


def _view(world: World, client: Client) -> str:
    view = f"{world.name}_people".replace("-", "_")
    client.features.put_view(
        FeatureView(view, "user_id", (FeatureField("age", "int64"), FeatureField("_id", "string")))
    )
    return view


def _read_back(world: World) -> str:
    with Client(world.target) as client:
        view = _view(world, client)
        client.features.write(view, {"7": {"age": 7}, "007": {"age": 8}, "a/b": {"age": 9}}, text_ids=True)
        reads = client.features.read(view, ["007", "a/b", "7", 'né"w'], text_ids=True)
        return ", ".join(f"{read.values['_id'] or read.status} {read.values['age']}" for read in reads)


def _collision(world: World) -> str:
    with Client(world.target) as client:
        view = _view(world, client)
        client.features.write(view, {FIRST: {"age": 1}}, text_ids=True)
        client.features.write(view, {"bob": {"age": 2}, SECOND: {"age": 3}}, text_ids=True)
    return "written"


def _schema(world: World) -> str:
    from rowbank_trainer.schema.spec import Column

    return str(Column("_id", "categorical"))


def _row(world: World) -> str:
    table = f"{world.name}-texts"
    with Client(world.target) as client:
        client.create_table(TableSpec(table, dim=1)).upsert([token_key("anna@home")], [[1.5]])
    command = [sys.executable, "-m", "rowbank.cli", "row", table, "anna@home", "--text-ids", "-t", world.target]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return next(line for line in done.stdout.splitlines() if "values" in line.lower())


CASES = [
    Case("7 and 007 in a file", "007, 7, x", lambda world: _load(world, "7,1\n007,2\n", "7,2\nx,1\n")),
    Case("integers to train on and texts to test on",
         r"DataError: user ids must be of one kind in all files; got .*train\.csv: column 'user': plain integers, such "
         r"as '7' in line 2, and .*test\.csv: column 'user': text, such as 'u7' in line 2; write them alike, or take "
         r"all as text with --id-type text", lambda world: _load(world, "7,1\n8,2\n", "u7,1\nu8,2\n")),
    Case("features by texts", "007 8, a/b 9, 7 7, not_found 0", _read_back),
    Case("texts of a file that hash alike",
         rf"DataError: .*test\.csv: column 'user': user ids '{SECOND}' in line 3 and '{FIRST}' in .*train\.csv, line 2 "
         r"have the same hash; write one of them differently in all files, or number them yourself, with integers",
         lambda world: _load(world, f"{FIRST},1\nx,2\n", f"x,1\n{SECOND},2\n")),
    Case("a text whose key belongs to another",
         rf"IdCollision: ids '{FIRST}' and '{SECOND}' have the same key, \d+; nothing was written: write one of them "
         r"differently",
         _collision),
    Case("a schema with a column _id", r"SchemaError: .*'_id'.*does not begin with '_'.*", _schema),
    Case("a row by the text of an id", r".*1\.5.*", _row),
]  # fmt: skip
