"""Takes over tables that TensorFlow Recommenders Addons saved to files or keeps in Redis. Needs no TensorFlow.

TFRA stores raw keys and rows without a word on their types, so the caller says what the values are; keys are int64.
Optimizer state is in tables of its own there and is not taken over: rows start with fresh state.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rowbank.errors import DimMismatch, InvalidFile, InvalidRequest, MissingPackage, RowbankError
from rowbank.files import places
from rowbank.files.parquet import FileReport, Progress
from rowbank.files.places import Place
from rowbank.redis_words import describe

if TYPE_CHECKING:
    from rowbank.table import Table

_KEYS, _VALUES = "-keys", "-values"
_SHARD = re.compile(r"(?P<table>.+)_mht_(?P<shard>\d+)of(?P<count>\d+)(?P<rest>.*)")
_PIECE_BYTES = 8 << 20
_SCAN_ROWS = 4096
_DTYPES = ("float32", "float16", "float64")

Batch = tuple[npt.NDArray[np.int64], npt.NDArray[Any]]


def import_files(
    table: Table, location: str, *, value_dtype: str = "float32", progress: Progress | None = None
) -> FileReport:
    """Stores the rows of a table that `save_to_file_system` or a `FileSystemSaver` wrote.

    Args:
        location: path or URL of a folder that has the files of one table, or folder and table, as in
            `saved/user_embedding`: the files `<table>_mht_<i>of<n>...-keys` and `-values` of all shards.
        value_dtype: "float32", "float16" or "float64".
        progress: called after each piece.
    Raises:
        InvalidFile: no files, files of several tables, a shard missing, sizes that do not fit together.
        DimMismatch: rows of another width.
    """
    dtype = _dtype_of(value_dtype)
    place = places.place_of(location)
    bases = _bases(place)
    totals = [_check_pair(base, table, dtype) for base in bases]
    batches = (batch for base, rows in zip(bases, totals, strict=True) for batch in _read(base, rows, table.dim, dtype))
    return FileReport(table.name, location, _store(table, batches, sum(totals), progress), 0)


def import_redis(
    table: Table,
    url: str,
    *,
    model_tag: str,
    name: str,
    value_dtype: str = "float32",
    progress: Progress | None = None,
) -> FileReport:
    """Stores the rows that a TFRA `RedisTable` keeps; its Redis is only read.

    Args:
        url: redis://, rediss://, unix:// or redis+cluster://.
        model_tag: `model_tag_runtime` of the TFRA configuration.
        name: of the variable; TFRA puts `_` for `/`.
        value_dtype: "float32", "float16" or "float64".
        progress: called after each piece.
    Raises:
        MissingPackage: the redis package is not installed.
        InvalidFile: there is no such table in it.
        DimMismatch: rows of another width.
        RowbankError: Redis cannot be reached or refuses.
    """
    dtype = _dtype_of(value_dtype)
    try:
        import redis
    except ImportError:
        raise MissingPackage("redis is not installed, and this needs it: pip install 'rowbank[redis]'") from None
    prefix = f"{model_tag}:{name.replace('/', '_')}"
    try:
        if url.startswith("redis+cluster://"):
            server: Any = redis.RedisCluster.from_url(url.replace("redis+cluster://", "redis://", 1))
        else:
            server = redis.Redis.from_url(url)
        with server:
            buckets = _buckets(server, prefix, url)
            total = sum(server.hlen(bucket) for bucket in buckets)
            batches = (batch for bucket in buckets for batch in _scan(server, bucket, table, dtype))
            rows = _store(table, batches, total, progress)
    except (redis.RedisError, redis.exceptions.RedisClusterException, ValueError) as error:
        if isinstance(error, RowbankError):
            raise
        raise RowbankError(f"the Redis at {url.rpartition('@')[2]}: {describe(error)}") from None
    return FileReport(table.name, prefix, rows, 0)


def _store(table: Table, batches: Iterable[Batch], total: int, progress: Progress | None) -> int:
    rows = 0
    for keys, values in batches:
        table.upsert(keys, values.astype(np.float32, copy=False))
        rows += len(keys)
        if progress is not None:
            progress(rows, max(rows, total))
    return rows


def _bases(place: Place) -> list[Place]:
    """Paths, without their endings, of the files of all shards of the one table at `place`."""
    folder, _, table = place.path.rstrip("/").rpartition("/")
    if place.fs.isdir(place.path):
        folder, table = place.path.rstrip("/"), ""
    names = _names(place, folder)
    tables = {name: (match["table"] if (match := _SHARD.fullmatch(name)) else name) for name in names}
    chosen = [name for name in names if table in ("", name, tables[name])]
    known = ", ".join(sorted(set(tables.values()))) or "none"
    if not chosen:
        raise InvalidFile(f"{place}: expected files NAME{_KEYS} and NAME{_VALUES} there, got tables: {known}")
    if len({tables[name] for name in chosen}) > 1:
        raise InvalidFile(
            f"{place}: expected the files of one table; name one of those there, as in {folder}/TABLE: {known}"
        )
    _require_all_shards(place, chosen)
    return [Place(place.fs, f"{folder}/{name}") for name in chosen]


def _names(place: Place, folder: str) -> list[str]:
    try:
        entries = place.fs.ls(folder, detail=False)
    except (FileNotFoundError, NotADirectoryError):
        raise InvalidFile(f"{place}: no such folder, and no files of a table of that name") from None
    return sorted(entry.rpartition("/")[2].removesuffix(_KEYS) for entry in entries if entry.endswith(_KEYS))


def _require_all_shards(place: Place, names: list[str]) -> None:
    shards = [match for name in names if (match := _SHARD.fullmatch(name))]
    missing = {f"{number}of{match['count']}" for match in shards for number in range(1, int(match["count"]) + 1)} - {
        f"{match['shard']}of{match['count']}" for match in shards
    }
    if missing:
        raise InvalidFile(f"{place}: expected the files of every shard, {', '.join(sorted(missing))} missing")


def _check_pair(base: Place, table: Table, dtype: np.dtype[Any]) -> int:
    """How many rows a pair of files has."""
    try:
        key_bytes, value_bytes = (int(base.fs.size(base.path + ending)) for ending in (_KEYS, _VALUES))
    except FileNotFoundError:
        raise InvalidFile(f"{base}{_VALUES}: no such file") from None
    rows, rest = divmod(key_bytes, 8)
    if rest or value_bytes % max(rows, 1) or (rows == 0 and value_bytes):
        raise InvalidFile(
            f"{base}: expected int64 keys and one row for each, got {key_bytes} bytes of keys, {value_bytes} of values"
        )
    if rows and value_bytes != rows * table.dim * dtype.itemsize:
        raise _wrong_width(str(base), table, value_bytes // rows, dtype)
    return rows


def _read(base: Place, rows: int, dim: int, dtype: np.dtype[Any]) -> Iterator[Batch]:
    row_bytes = dim * dtype.itemsize
    step = max(1, _PIECE_BYTES // row_bytes)
    keys_at, values_at = (Place(base.fs, base.path + ending) for ending in (_KEYS, _VALUES))
    with places.reading(keys_at) as key_file, places.reading(values_at) as value_file:
        for start in range(0, rows, step):
            count = min(step, rows - start)
            key_data, value_data = key_file.read(count * 8), value_file.read(count * row_bytes)
            if len(key_data) != count * 8 or len(value_data) != count * row_bytes:
                raise InvalidFile(f"{base}: became shorter while it was read")
            yield np.frombuffer(key_data, np.int64), np.frombuffer(value_data, dtype).reshape(count, dim)


def _buckets(server: Any, prefix: str, url: str) -> list[bytes]:
    """The Redis keys of a table: the prefix and a hash tag of digits; other tables may share the prefix."""
    glob = re.sub(r"([*?\[\]\\^])", r"\\\1", prefix)
    exactly = re.compile(re.escape(prefix.encode()) + rb"\{\d+\}")
    found = {key for key in server.scan_iter(match=f"{glob}{{*}}", count=1000) if exactly.fullmatch(key)}
    if not found:
        raise InvalidFile(f"{url.rpartition('@')[2]}: expected hashes {prefix}{{N}}, got none; check tag and name")
    return sorted(found)


def _scan(server: Any, bucket: bytes, table: Table, dtype: np.dtype[Any]) -> Iterator[Batch]:
    """Rows of one bucket; a row that moves while Redis rehashes may come twice, the same."""
    keys: list[bytes] = []
    rows: list[bytes] = []
    for key, row in server.hscan_iter(bucket, count=_SCAN_ROWS):
        if len(key) != 8:
            raise InvalidFile(f"{bucket.decode(errors='replace')}: expected int64 keys, got one of {len(key)} bytes")
        if len(row) != table.dim * dtype.itemsize:
            raise _wrong_width(bucket.decode(errors="replace"), table, len(row), dtype)
        keys.append(key)
        rows.append(row)
        if len(keys) == _SCAN_ROWS:
            yield _batch(keys, rows, table.dim, dtype)
            keys, rows = [], []
    if keys:
        yield _batch(keys, rows, table.dim, dtype)


def _batch(keys: list[bytes], rows: list[bytes], dim: int, dtype: np.dtype[Any]) -> Batch:
    return np.frombuffer(b"".join(keys), np.int64), np.frombuffer(b"".join(rows), dtype).reshape(len(keys), dim)


def _dtype_of(name: str) -> np.dtype[Any]:
    if name not in _DTYPES:
        raise InvalidRequest(f"value_dtype: expected one of {', '.join(_DTYPES)}, got {name!r}")
    return np.dtype(name)


def _wrong_width(where: str, table: Table, row_bytes: int, dtype: np.dtype[Any]) -> DimMismatch:
    return DimMismatch(
        f"{where}: table {table.name!r} has dim {table.dim}, got rows of {row_bytes} bytes, "
        f"which is {row_bytes / dtype.itemsize:g} x {dtype.name}",
        metadata={"table": table.name, "expected": str(table.dim)},
    )
