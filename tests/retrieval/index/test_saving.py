"""Indexes in files: they search as before, in any number of processes, and damaged ones are refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.retrieval.index.support import clustered, packed, reference

from rowbank_server.retrieval.index import (
    ArrayFileError,
    BuildOptions,
    ExactIndex,
    Index,
    InvertedIndex,
    load_index,
    map_arrays,
    save_index,
    write_arrays,
)

VECTORS, QUERIES = clustered(np.random.default_rng(2), 4000, 10)
EXCLUDED = np.random.default_rng(3).random((len(QUERIES), len(VECTORS))) < 0.5
SEARCHER = """
import sys, numpy as np
from pathlib import Path
from rowbank_server.retrieval.index import load_index
index = load_index(Path(sys.argv[1]))
print("ready", flush=True)
queries = np.load(sys.argv[2])
sys.stdin.readline()
print(index.search(queries, 10, None)[0].tolist(), flush=True)
"""


@pytest.fixture(params=["exact", "inverted"])
def index(request: pytest.FixtureRequest) -> Index:
    return ExactIndex(VECTORS) if request.param == "exact" else InvertedIndex.build(VECTORS, BuildOptions())


def test_a_saved_index_searches_as_before(index: Index, tmp_path: Path) -> None:
    save_index(index, tmp_path / "index")
    opened = load_index(tmp_path / "index", verify=True)
    assert (opened.kind, opened.size, opened.dim, opened.bytes) == (index.kind, index.size, index.dim, index.bytes)
    assert opened.describe() == index.describe()
    assert np.array_equal(opened.vectors, VECTORS)
    bonus: Any = [np.arange(len(VECTORS), dtype=np.float32) / 1000] * len(QUERIES)
    for exclude in (None, packed(EXCLUDED)):
        for added in (None, bonus):
            found = opened.search(QUERIES, 30, exclude, added)
            assert all(map(np.array_equal, found, index.search(QUERIES, 30, exclude, added)))


@pytest.mark.parametrize("size", [0, 1])
def test_the_smallest_indexes(size: int, tmp_path: Path) -> None:
    save_index(ExactIndex(VECTORS[:size]), tmp_path / "index")
    positions, _ = load_index(tmp_path / "index").search(QUERIES, 3, None)
    assert np.array_equal(positions, reference(VECTORS[:size], QUERIES, 3)[0])


def test_processes_share_a_file(index: Index, tmp_path: Path) -> None:
    """Two processes have it open while a third index takes its place: both search what they opened."""
    path, queries = tmp_path / "index", tmp_path / "queries.npy"
    save_index(index, path)
    np.save(queries, QUERIES)
    command = [sys.executable, "-c", SEARCHER, str(path), str(queries)]
    pipe = subprocess.PIPE
    processes = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(2)]
    try:
        assert [process.stdout.readline() for process in processes] == ["ready\n"] * 2
        save_index(ExactIndex(VECTORS[:1]), path)
        answers = [process.communicate("go\n", timeout=60)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert answers == [f"{index.search(QUERIES, 10, None)[0].tolist()}\n"] * 2


def rewritten(path: Path, kind: str | None = None, facts: Any = None, **arrays: Any) -> None:
    """The file again, with something else in it."""
    mapped = map_arrays(path)
    kept = {name: np.array(array) for name, array in {**mapped.arrays, **arrays}.items() if array is not None}
    write_arrays(path, kind or mapped.kind, {**mapped.facts, **(facts or {})}, kept)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "table"}, "no index is of the kind 'table'"),
        ({"vectors": None}, "vectors is missing"),
        ({"codes": None}, "codes is missing"),
        ({"vectors": VECTORS[:-1]}, r"vectors have the shape \(3999, 10\), expected \(4000, 10\)"),
        ({"facts": {"size": 3999}}, r"expected \(3999, 10\)"),
        ({"scale": np.zeros(17, np.float32)}, "scale must have length"),
        ({"codes": np.zeros(17, np.float32)}, "incompatible function arguments"),
    ],
    ids=["kind", "vectors", "codes", "fewer", "size", "length", "type"],
)
def test_parts_that_do_not_go_together_are_refused(index: Index, tmp_path: Path, change: Any, message: str) -> None:
    save_index(index, tmp_path / "index")
    rewritten(tmp_path / "index", **change)
    with pytest.raises(ArrayFileError, match=message):
        load_index(tmp_path / "index")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"starts": np.array([1, 2], np.uint32)}, "starts must have length"),
        ({"spreads": np.full(256, np.nan, np.float32)}, "must be finite"),
        ({"centroids": np.full((256, 10), np.inf, np.float32)}, "is not finite"),
        ({"facts": {"lists_read": 0}}, "lists_read and k must be positive"),
        ({"facts": {"recall": None}}, "NoneType"),
    ],
    ids=["starts", "spreads", "centroids", "lists_read", "recall"],
)
def test_lists_that_make_no_sense_are_refused(tmp_path: Path, change: Any, message: str) -> None:
    save_index(InvertedIndex.build(VECTORS, BuildOptions(lists=256)), tmp_path / "index")
    count = len(map_arrays(tmp_path / "index").arrays["radii"])
    cut = {
        name: value[:count] if hasattr(value, "shape") and len(value) == 256 else value
        for name, value in change.items()
    }
    rewritten(tmp_path / "index", **cut)
    with pytest.raises(ArrayFileError, match=message):
        load_index(tmp_path / "index")


def test_arrays_with_nonsense_are_searched_without_a_fault(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    save_index(InvertedIndex.build(VECTORS, BuildOptions()), tmp_path / "index")
    arrays = map_arrays(tmp_path / "index").arrays
    wrong = {
        name: np.frombuffer(rng.bytes(arrays[name].nbytes), arrays[name].dtype)
        for name in ("positions", "codes", "scale", "error", "norm")
    }
    rewritten(tmp_path / "index", **wrong)
    positions, _ = load_index(tmp_path / "index").search(QUERIES, 30, packed(EXCLUDED))
    assert (positions < len(VECTORS)).all()
