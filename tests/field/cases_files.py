"""Files of people's own: interactions to train on, and tables and snapshots in folders."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
from tests.field.case import Case, World

from rowbank import Client, TableSpec


def _load(path: Path, *, title: str | None = None, items: Path | None = None) -> Any:
    from rowbank_trainer.data.columns import ColumnNames
    from rowbank_trainer.data.files import InteractionFiles, load_files

    return load_files(InteractionFiles(path, items=items, columns=ColumnNames(title=title)))


def _file(world: World, content: str | bytes, name: str = "events.csv") -> Path:
    path = world.folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def _counts(content: str | bytes, name: str = "events.csv") -> Callable[[World], str]:
    def run(world: World) -> str:
        found = _load(_file(world, content, name)).interactions
        return f"{len(np.unique(found.user_ids))} users, {len(np.unique(found.item_ids))} items"

    return run


def _parquet(**columns: Any) -> Callable[[World], str]:
    def run(world: World) -> str:
        path = world.folder / "events.parquet"
        pyarrow.parquet.write_table(pyarrow.table(columns), path)
        dataset = _load(path)
        return f"{len(np.unique(dataset.interactions.user_ids))} users, titles {dataset.catalogue.titles}"

    return run


def _leave_last(world: World) -> str:
    from rowbank_trainer.data import SplitRule, split_by

    rows = [(user, item, 1_711_846_799_000 + 100 * item) for user in range(40) for item in range(5)]
    order = np.random.default_rng(5).permutation(len(rows))
    path = _file(world, "user,item,time\n" + "".join("{},{},{}\n".format(*rows[row]) for row in order))
    held = split_by(SplitRule.parse("leave-last:1"), _load(path).interactions, timed=True, seed=1).held_out
    return f"{int((held.item_ids != 4).sum())} of {len(held)} wrong"


def _year(content: str) -> Callable[[World], str]:
    def run(world: World) -> str:
        found = _load(_file(world, content)).interactions
        moment = np.datetime64(int(found.times[0]), getattr(found, "time_unit", "s"))
        return str(moment.astype("M8[D]"))

    return run


def _catalogue(content: str, title: str | None) -> Callable[[World], str]:
    def run(world: World) -> str:
        items = _file(world, content, "items.csv")
        return str(_load(_file(world, "user,item\n1,0\n1,1\n"), title=title, items=items).catalogue.titles)

    return run


def _trainer(content: str | bytes, *options: str) -> Callable[[World], str]:
    """What `rowbank-train two-tower` says of a file; a batch larger than the file ends it before it trains."""

    def run(world: World) -> str:
        path = _file(world, content)
        code = "from rowbank_trainer.cli import main; main()"
        command = [sys.executable, "-c", code, "two-tower", "--interactions", str(path), "--no-publish", *options]
        environment = {**os.environ, "ROWBANK_TARGETS": world.target, "NO_COLOR": "1", "COLUMNS": "1000"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, cwd=world.folder)
        return f"{done.returncode}: {done.stdout} {done.stderr}"

    return run


def _command(world: World, *arguments: str) -> str:
    environment = {**os.environ, "ROWBANK_TARGETS": world.target, "NO_COLOR": "1"}
    command = [sys.executable, "-m", "rowbank.cli", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, cwd=world.folder)
    left = sorted(str(path.relative_to(world.folder)) for path in world.folder.rglob("*") if path.is_file())
    said = done.stderr.strip().replace("\n", " ") or done.stdout.strip().replace("\n", " ")
    return f"{done.returncode}, {len(left)} files, {said}"


@contextlib.contextmanager
def _small_table(world: World) -> Any:
    with Client(world.target) as client:
        client.create_table(TableSpec(world.name, dim=2)).upsert(np.arange(4), np.ones((4, 2), np.float32))
        try:
            yield
        finally:
            client.drop_table(world.name)


def _export_onto_folder(world: World) -> str:
    (world.folder / "dd").mkdir()
    with _small_table(world):
        return _command(world, "export", world.name, "dd")


def _snapshot(*arguments: str) -> Callable[[World], str]:
    def run(world: World) -> str:
        (world.folder / "outer").mkdir()
        with _small_table(world):
            return _command(world, "snapshot", "save", "outer/snaps", *arguments)

    return run


_QUOTED = "user,item\n" + "".join(f'{row},"line one\nline two {row}"\n' for row in range(60_000))
_TIMES = "user,item,time\n1,1,{}\n1,2,{}\n"

CASES = [
    Case('ids "007" and "7", items "0001047973" and "1047973", quoted', r"2 users, 2 items",
         _counts('user,item\n"007","0001047973"\n"7","1047973"\n')),
    Case("0x1F beside 31", r"2 users, 2 items", _counts("user,item\n0x1F,1\n31,2\n")),
    Case("a blank id", r"DataError: .*column 'user': 1 missing user id, the first in line 3.*--skip-bad-rows",
         _counts("user,item\nu1,a\n,b\nu2,c\n")),
    Case("NA, null, NaN, None as ids", r"DataError: .*column 'item': 4 missing item ids, the first in line 2 .*",
         _counts("user,item\n1,NA\n2,null\n3,NaN\n4,None\n5,x\n")),
    Case("13835058055282163712 as an id", r"DataError: .*column 'item': expected integers of 64 bits .* in line 3;.*",
         _counts("user,item\n1,7\n2,13835058055282163712\n")),
    Case("milliseconds, leave-last:1", r"0 of 40 wrong", _leave_last),
    Case("dates such as 20240131", r"2024-01-31", _year(_TIMES.format(20240131, 20240201))),
    Case("dates with a time zone", r"2024-01-31",
         _year(_TIMES.format("2024-01-31T12:00:00Z", "2024-01-31T13:00:00+01:00"))),
    Case("seconds and milliseconds mixed", r"DataError: .*expected times in one unit, got several: '1711846799' in.*",
         _year(_TIMES.format(1711846799, 1711846799000))),
    Case("60,000 rows with a line break in a cell", r"60000 users, 60000 items", _counts(_QUOTED)),
    Case("user;item", r"2 users, 2 items", _counts("user;item\n1;2\n3;4\n")),
    Case("tabs in a .csv", r"2 users, 2 items", _counts("user\titem\n1\t2\n3\t4\n")),
    Case("JSON lines", r"2 users, 2 items", _counts('{"user":1,"item":2}\n{"user":3,"item":4}\n', "events.jsonl")),
    Case("titles that are all digits", r"\('1984', '2001'\)", _catalogue("item,title\n0,1984\n1,2001\n", None)),
    Case("titles that are dates or blank", r"\('2024-01-01', ''\)", _catalogue("item,title\n0,2024-01-01\n1,\n", None)),
    Case("--title-column that only the catalogue has", r"\('Heat', 'Jaws'\)",
         _catalogue("item,name\n0,Heat\n1,Jaws\n", "name")),
    Case("categorical titles", r"2 users, titles \('Heat', 'Jaws'\)",
         _parquet(user=[1, 2], item=[0, 1], title=pyarrow.array(["Heat", "Jaws"]).dictionary_encode())),
    Case("int32 and uint64 ids", r"2 users, titles .*",
         _parquet(user=pyarrow.array([1, 2], pyarrow.int32()), item=pyarrow.array([0, 1], pyarrow.uint64()))),
    Case("ids in lists", r"DataError: .*column 'item': expected one value in each row, got lists .*; write a row.*",
         _parquet(user=[1, 2], item=[[1], [2]])),
    Case("Latin-1", r"DataError: .*events\.csv:3: expected text in UTF-8, got byte 0xe9 at offset 16; .*iconv.*",
         _counts("user,item\n1,2\n3,é\n".encode("latin1"))),
    Case("a quote that is never closed", r"DataError: .*a quoted cell begins after line 2 and never ends.*",
         _counts('user,item\n1,2\n3,"4\n5,6\n')),
    Case("rowbank-train says the unit of times", r"1: .*times in 'time': milliseconds, 2024-03-31T.*fewer than.*",
         _trainer("user,item,time\n" + "".join(f"1,{row},{1_711_846_799_000 + row}\n" for row in range(9)))),
    Case("rowbank-train --skip-bad-rows", r"1: .*skipped 1 of 3 rows \('user': 1 missing user id, line 3 .*fewer.*",
         _trainer("user,item\nu1,a\n,b\nu2,c\n", "--skip-bad-rows")),
    Case("rowbank export onto a folder", r"1, 0 files, error: .*dd: expected the name of a file, got a folder; name.*",
         _export_onto_folder),
    Case("snapshot save --name ..", r"1, 0 files, error: name: expected the name of a folder without .* got '\.\.'.*",
         _snapshot("--name", "..")),
    Case("snapshot save --name a/b", r"1, 0 files, error: name: expected the name of a folder without a path.*",
         _snapshot("--name", "a/b")),
    Case("snapshot save --base ../x", r"1, 0 files, error: base: expected the name of a folder without a path.*",
         _snapshot("--base", "../x")),
]  # fmt: skip
