"""The catalog: which tables exist, in one Redis hash, so that creating and dropping is atomic for all shards.

A counter in the same hash, the generation, rises with every change. Shards poll it; and because it never falls in a
Redis that keeps what it was told, a fallen one says that Redis came back empty or older than what we know. No shard
then believes that its tables were dropped: it writes them again (`Catalog.restore`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf import json_format

from rowbank.errors import InternalError
from rowbank_protos.v1 import tables_pb2
from rowbank_server.storage.connection import Redis, translated
from rowbank_server.storage.layout import Layout

_GENERATION = "#generation"
_NEXT_ID = "#next_id"
_HOLDS = "#holds"  # How often anybody began to hold tables.
_CHANGED = -2  # An outcome: somebody began to hold tables since the caller looked.

# Each script touches the catalog alone. ARGV[1] is the least generation at which it may act.
_GUARD = """
local generation = tonumber(redis.call('HGET', KEYS[1], '#generation') or '0')
if generation < tonumber(ARGV[1]) then return {-1, ''} end
"""
_CREATE = (
    _GUARD
    + """
local existing = redis.call('HGET', KEYS[1], ARGV[2])
if existing then return {0, existing} end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
return {redis.call('HINCRBY', KEYS[1], '#generation', 1), ARGV[3]}
"""
)
_REPLACE = (
    _GUARD
    + """
local existing = redis.call('HGET', KEYS[1], ARGV[2])
if not existing or cjson.decode(existing)['id'] ~= tonumber(ARGV[3]) then return {0, existing or ''} end
if ARGV[4] == '' then
  if ARGV[5] ~= '' and (redis.call('HGET', KEYS[1], '#holds') or '0') ~= ARGV[5] then return {-2, ''} end
  redis.call('HDEL', KEYS[1], ARGV[2], '#lineage:' .. ARGV[3], '#trained_by:' .. ARGV[3])
  redis.call('HSET', KEYS[1], '#dropped:' .. ARGV[3], generation + 1)
  if (generation + 1) % 1000 == 0 then
    for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
      if field:sub(1, 9) == '#dropped:' and tonumber(redis.call('HGET', KEYS[1], field)) < generation - 1000 then
        redis.call('HDEL', KEYS[1], field)
      end
    end
  end
else
  redis.call('HSET', KEYS[1], ARGV[2], ARGV[4])
end
return {redis.call('HINCRBY', KEYS[1], '#generation', 1), ''}
"""
)
# ARGV: highest generation and table id seen, then name, id and JSON of each entry; without JSON it was dropped. A table
# that anybody dropped stays dropped, and one that was made anew under its name stays, whoever restores what first.
_RESTORE = """
local generation = tonumber(redis.call('HGET', KEYS[1], '#generation') or '0')
local next_id = tonumber(redis.call('HGET', KEYS[1], '#next_id') or '0')
generation = math.max(generation, tonumber(ARGV[1])) + 1
for i = 3, #ARGV, 3 do
  local existing = redis.call('HGET', KEYS[1], ARGV[i])
  local id = existing and cjson.decode(existing)['id'] or 0
  local mine = tonumber(ARGV[i + 1])
  local mark = '#dropped:' .. ARGV[i + 1]
  if ARGV[i + 2] == '' then
    redis.call('HSETNX', KEYS[1], mark, generation)
    if id == mine then redis.call('HDEL', KEYS[1], ARGV[i]) end
  elseif id <= mine and redis.call('HEXISTS', KEYS[1], mark) == 0 then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 2])
  end
end
redis.call('HSET', KEYS[1], '#generation', generation)
redis.call('HSET', KEYS[1], '#next_id', math.max(next_id, tonumber(ARGV[2])))
return generation
"""


class CatalogBehindError(Exception):
    """The catalog is older than what this shard has seen: Redis lost writes and must be restored first."""


class HoldsChangedError(Exception):
    """Somebody began to hold tables between a look at who holds one and the attempt to drop it."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Which table a name stands for.

    Attributes:
        lineage: how often it was cleared or imported into.
        run: the run that trained it last, if it said so.
    """

    table_id: int
    lineage: int
    run: str


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """One table. `table_id` is never used twice."""

    table_id: int
    created_at_s: int
    bucket_count: int
    spec: tables_pb2.TableSpec

    @property
    def name(self) -> str:
        """The table's name."""
        return self.spec.name

    def to_json(self) -> str:
        """As the catalog keeps it."""
        entry = {
            "id": self.table_id,
            "created_at_s": self.created_at_s,
            "bucket_count": self.bucket_count,
            "spec": json_format.MessageToDict(self.spec, preserving_proto_field_name=True),
        }
        return json.dumps(entry, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> CatalogEntry:
        """Reads what `to_json` wrote.

        Raises:
            InternalError: it is something else, such as the entry of a newer version.
        """
        try:
            entry = json.loads(text)
            spec = json_format.ParseDict(entry["spec"], tables_pb2.TableSpec())
            return cls(int(entry["id"]), int(entry["created_at_s"]), int(entry["bucket_count"]), spec)
        except (ValueError, KeyError, TypeError, json_format.ParseError) as error:
            raise InternalError(f"the catalog holds an entry that cannot be read ({error!r}): {text!r}") from error


@dataclass(frozen=True, slots=True)
class CatalogView:
    """The whole catalog at one moment."""

    generation: int
    entries: dict[str, CatalogEntry]


class Catalog:
    """Reads and changes the catalog, and remembers the highest generation seen. For one thread at a time, but `get` and
    what is about holds and identities.

    Every method raises RedisUnavailable when Redis cannot be used.
    """

    def __init__(self, redis: Redis, layout: Layout) -> None:
        self._redis = redis
        self._key = layout.catalog
        self._create = redis.register_script(_CREATE)
        self._replace = redis.register_script(_REPLACE)
        self._restore = redis.register_script(_RESTORE)
        self._seen = 0

    def generation(self) -> int:
        """How often the catalog changed; 0 if it is empty. Raises CatalogBehindError if Redis lost changes."""
        with translated("catalog"):
            generation = int(self._redis.hget(self._key, _GENERATION) or 0)
        self._see(generation)
        return generation

    def read(self) -> CatalogView:
        """All tables and the generation, at the same moment. Raises CatalogBehindError if Redis lost changes."""
        with translated("catalog"):
            fields: dict[bytes, bytes] = self._redis.hgetall(self._key)
        entries = {name.decode(): CatalogEntry.from_json(text) for name, text in fields.items() if name[:1] != b"#"}
        view = CatalogView(int(fields.get(_GENERATION.encode(), 0)), entries)
        self._see(view.generation)
        return view

    def get(self, name: str) -> CatalogEntry | None:
        """One table, or None. A name that starts with # is never a table's."""
        with translated("catalog"):
            text = None if name.startswith("#") else self._redis.hget(self._key, name)
        return None if text is None else CatalogEntry.from_json(text)

    def new_id(self) -> int:
        """An id that no table had before."""
        with translated("catalog"):
            return int(self._redis.hincrby(self._key, _NEXT_ID, 1))

    def create(self, entry: CatalogEntry) -> tuple[CatalogEntry, bool]:
        """Adds `entry`, unless its name is taken: the entry that is there now, and whether it is the given one.

        Raises:
            CatalogBehindError: Redis lost changes of the catalog that were seen before.
        """
        outcome, text = self._run(self._create, [entry.name, entry.to_json()])
        return (entry, True) if outcome > 0 else (CatalogEntry.from_json(text), False)

    def update(self, entry: CatalogEntry) -> bool:
        """Replaces the entry of the same name and id; False: there is none. Raises as `create` does."""
        outcome, _ = self._run(self._replace, [entry.name, entry.table_id, entry.to_json()])
        return outcome > 0

    def drop(self, entry: CatalogEntry, *, holds_seen: int | None = None) -> bool:
        """Removes the entry of the same name and id; False: there is none. Raises as `create` does.

        Args:
            holds_seen: what `holds` said before the caller looked who holds the table; None: it does not matter.
        Raises:
            HoldsChangedError: somebody began to hold tables since.
        """
        outcome, _ = self._run(
            self._replace, [entry.name, entry.table_id, "", "" if holds_seen is None else holds_seen]
        )
        if outcome == _CHANGED:
            raise HoldsChangedError
        return outcome > 0

    def holds(self) -> int:
        """How often anybody began to hold tables."""
        with translated("catalog"):
            return int(self._redis.hget(self._key, _HOLDS) or 0)

    def note_hold(self) -> None:
        """Says that somebody holds tables from now on; a drop that looked before must look again."""
        with translated("catalog"):
            self._redis.hincrby(self._key, _HOLDS, 1)

    def identity(self, name: str) -> Identity | None:
        """What tells a table from its predecessors and from itself before it was emptied; None: there is none."""
        entry = self.get(name)
        if entry is None:
            return None
        with translated("catalog"):
            lineage, run = self._redis.hmget(self._key, [f"#lineage:{entry.table_id}", f"#trained_by:{entry.table_id}"])
        return Identity(entry.table_id, int(lineage or 0), (run or b"").decode())

    def raise_lineage(self, table_id: int) -> None:
        """Says that the rows of a table are others than training made them: it is cleared or imported into."""
        with translated("catalog"):
            self._redis.hincrby(self._key, f"#lineage:{table_id}", 1)

    def set_trained_by(self, table_id: int, run: str) -> None:
        """Says which run trains a table from now on."""
        with translated("catalog"):
            self._redis.hset(self._key, f"#trained_by:{table_id}", run)

    def restore(self, entries: Iterable[CatalogEntry], dropped: Mapping[int, str]) -> None:
        """Writes again what Redis lost: puts `entries`, removes tables that were `dropped` (id -> name)."""
        known = list(entries)
        highest = max([entry.table_id for entry in known] + list(dropped), default=0)
        arguments: list[Any] = [self._seen, highest]
        for table_id, name in dropped.items():
            arguments += [name, table_id, ""]
        for entry in known:
            arguments += [entry.name, entry.table_id, entry.to_json()]
        with translated("catalog"):
            generation = int(self._restore(keys=[self._key], args=arguments))
        self._see(generation)

    def _run(self, script: Any, arguments: list[Any]) -> tuple[int, bytes]:
        with translated("catalog"):
            outcome, text = script(keys=[self._key], args=[self._seen, *arguments])
        if outcome == -1:
            raise CatalogBehindError
        if outcome > 0:
            self._see(int(outcome))
        return int(outcome), text

    def _see(self, generation: int) -> None:
        if generation < self._seen:
            raise CatalogBehindError
        self._seen = generation
