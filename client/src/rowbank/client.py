"""The client: one object that talks to all shards of a parameter server."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from rowbank import admin, diagnosis
from rowbank._checks import at_least as at_least_number
from rowbank._checks import seconds, staleness
from rowbank.admin import EvictionEvent, ServerInfo, ShardProcess, ShardStats, TableInfo, TableStats
from rowbank.calls import asking, connect, flushing, methods, routing, storing, survey, training
from rowbank.calls.following.follower import Follower
from rowbank.calls.forked import forks
from rowbank.calls.holds import Hold
from rowbank.calls.near_cache import near_tables
from rowbank.calls.partial import PartialTransport
from rowbank.calls.replicas import ReplicaTransport, positions_of
from rowbank.calls.rounding import rounding_of
from rowbank.calls.transport import Transport
from rowbank.calls.verbs import Calls, Push
from rowbank.credentials import Credentials
from rowbank.diagnosis import ShardHealth
from rowbank.errors import DimMismatch, InvalidRequest, TableNotFound
from rowbank.features import Features
from rowbank.insight import Advice
from rowbank.models import Models
from rowbank.rows import NearTableStats, Rows, Store
from rowbank.specs import TableSpec
from rowbank.table import Table
from rowbank.tokens import Tokens
from rowbank.tracing import rows_span
from rowbank_protos import columns
from rowbank_protos.v1 import admin_pb2, diagnosis_pb2, tables_pb2

T = TypeVar("T")

_CONNECT_TIMEOUT_S = 10.0


class Client:
    """A connection to every shard of a parameter server. Thread-safe; use it in a `with`, or call `close`.

    In a forked child it goes on as another client, with an identity and connections of its own. Pickled, it is the
    addresses of its servers and its options: unpickled, it is the one client of the process that has those, which is
    opened there for the first that is unpickled and stays open.

    Args:
        targets: addresses of all shards, in any order: "127.0.0.1:7700", "a:7700,b:7700" or a list; those of several
            processes of one shard are separated by |: "a:7700|b:7700". None: the variable ROWBANK_TARGETS, else
            127.0.0.1:7700. Processes that serve or follow a shard are learnt from it, too.
        timeout_s: deadline of every request, retries included; a call that is split into several has one for each.
        connect_timeout_s: how long to wait for the servers to be there; None: 10 s, or `timeout_s` if that is less.
        wait_for_ready: False: a server that is not there now is an error at once.
        partial: True: servers that are away are left out of answers about all shards, `missing` names them, and nothing
            is tried twice. For looking at a cluster of which a part is down, from one thread.
        wire_dtype: how pulled rows and pushed gradients travel: "float32", or "float16" or "bfloat16" for half the
            bytes. The other verbs always use float32.
        max_staleness_s: None: reads go to the owners of the shards. Else `pull`, `lookup` and `size` may be answered by
            replicas whose rows are at most so many seconds old and show all that this client was acknowledged; where
            none can, by the owners. 0: by the owners, unless a call says otherwise.
        max_keys_per_call: more keys than this in one call are refused; reads up to it are split as servers need it.
        near_cache_bytes, max_staleness_steps: keep rows in up to so many bytes of this process, for reads that may be
            so many steps old (docs/near-cache.md). Either is 0: every read asks a server.
        gradient_rounding: how gradients are rounded to a `wire_dtype` of 16 bits: to "nearest", or "stochastic", up or
            down at random, so that small ones are not lost in the mean. Of `rounding_seed`; None: of one at random.
        credentials: whom to trust and which token to show; None: what the variables ROWBANK_TLS_CA, ROWBANK_TOKEN_FILE
            and the like say.
        native: whether calls may go over native endpoints (docs/protocol.md); ROWBANK_NATIVE=0 says no, too.
    Raises:
        ShardUnavailable, NotReady: a server is not there in time; the message names the targets.
        WrongShard: the targets are not every shard of one cluster.
        VersionMismatch: a server is of another version.
        InvalidRequest: an argument is out of range.
    """

    def __init__(
        self,
        targets: str | Sequence[str] | None = None,
        *,
        timeout_s: float = 30.0,
        connect_timeout_s: float | None = None,
        wait_for_ready: bool = True,
        partial: bool = False,
        wire_dtype: str = "float32",
        max_staleness_s: float | None = None,
        max_keys_per_call: int = 4_194_304,
        near_cache_bytes: int = 0,
        max_staleness_steps: int = 0,
        gradient_rounding: str = "nearest",
        rounding_seed: int | None = None,
        credentials: Credentials | None = None,
        native: bool = True,
    ) -> None:
        seconds("timeout_s", timeout_s)
        wait_s = min(_CONNECT_TIMEOUT_S, timeout_s) if connect_timeout_s is None else connect_timeout_s
        seconds("connect_timeout_s", wait_s)
        at_least_number("max_keys_per_call", max_keys_per_call, 1)
        max_staleness_s = None if max_staleness_s is None else staleness(max_staleness_s)
        if partial and max_staleness_s is not None:
            raise InvalidRequest("max_staleness_s: expected None with partial, which reads from the owners of shards")
        try:
            self._wire_dtype = columns.data_type(wire_dtype)
        except columns.ColumnError as error:
            raise InvalidRequest(f"wire_dtype: {error}") from None
        ways: dict[str, Any] = {"credentials": credentials, "native": native}
        self._options = {
            "timeout_s": timeout_s,
            "connect_timeout_s": connect_timeout_s,
            "wait_for_ready": wait_for_ready,
            "wire_dtype": wire_dtype,
            "max_staleness_s": max_staleness_s,
            "max_keys_per_call": max_keys_per_call,
            "near_cache_bytes": near_cache_bytes,
            "max_staleness_steps": max_staleness_steps,
            "gradient_rounding": gradient_rounding,
            "rounding_seed": rounding_seed,
            "partial": partial,
            **ways,
        }
        self._near = near_tables(near_cache_bytes, max_staleness_steps)
        rounding = rounding_of(gradient_rounding, rounding_seed)
        self._addresses = addresses = connect.parse_targets(targets)
        if partial:
            shards, self._servers, missing = connect.connect_partly(addresses, timeout_s=wait_s, **ways)
            self._transport: Transport = PartialTransport(shards, timeout_s=timeout_s, missing=missing)
        else:
            replicas = max_staleness_s is not None
            shards, self._servers = connect.connect(
                addresses, timeout_s=wait_s, wait=wait_for_ready, replicas=replicas, **ways
            )
            self._transport = Transport(shards, timeout_s=timeout_s)
            if max_staleness_s is not None:
                self._transport = ReplicaTransport(shards, timeout_s=timeout_s, max_staleness_s=max_staleness_s)
        self.calls = Calls(
            transport=self._transport,
            layout=routing.Layout(len(shards), self._servers[0].bucket_count),
            limits=connect.limits_of(self._servers),
            max_keys_per_call=max_keys_per_call,
            near=self._near,
            rounding=rounding,
        )
        self._tables: dict[str, Table] = {}
        self._tables_lock = forks.Lock()
        self.models = Models(self.calls)
        self.features = Features(self.calls)
        self.tokens = Tokens(self.calls)

    def __reduce__(self) -> Any:
        return _reopened, (tuple(self._addresses), tuple(self._options.items()))

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends all connections. Calls under way fail; calling it twice does no harm."""
        self._transport.close()

    @property
    def targets(self) -> list[str]:
        """The addresses that it was given, in full; those of one shard separated by |."""
        return list(self._addresses)

    @property
    def missing(self) -> dict[int, str]:
        """Shards that the last answer about all of them is without, with their addresses; for `partial` clients."""
        present = set(self._transport.present)
        shards = range(len(self._transport.shards))
        return {shard: self._transport.shards[shard].target for shard in shards if shard not in present}

    def create_table(self, spec: TableSpec, *, exist_ok: bool = False) -> Table:
        """Creates a table.

        Args:
            exist_ok: accept a table of that name that has an equal spec.
        Raises:
            TableExists: there is one, and it differs or `exist_ok` is False.
            InvalidSpec: the server cannot make such a table.
        """
        request = tables_pb2.CreateTableRequest(spec=spec.to_proto(), exist_ok=exist_ok)
        answer = self._transport.one(methods.CREATE_TABLE, 0, request, retry=exist_ok)
        self._forget([spec.name])  # Another client may have dropped the one that rows are kept of.
        return self._remember(TableSpec.from_proto(answer.table.spec))

    def table(self, name: str) -> Table:
        """A table that exists. Raises `TableNotFound`."""
        return self._remember(self._get(self._transport.present[0], name))

    def list_tables(self) -> list[TableInfo]:
        """All tables by name, with their sizes over all shards."""
        by_name: dict[str, list[tables_pb2.TableInfo]] = {}
        for answer in self._transport.each(methods.LIST_TABLES, tables_pb2.ListTablesRequest()):
            for info in answer.tables:
                by_name.setdefault(info.spec.name, []).append(info)
        return [admin.merge_table_infos(infos) for _, infos in sorted(by_name.items())]

    def table_info(self, name: str) -> TableInfo:
        """One table with its size over all shards. Raises `TableNotFound`."""
        answers = self._transport.each(methods.GET_TABLE, tables_pb2.GetTableRequest(name=name))
        return admin.merge_table_infos([answer.table for answer in answers])

    def update_table(self, spec: TableSpec) -> Table:
        """Changes what can change while rows exist: optimizer numbers, admission, eviction, durability.

        Raises:
            TableNotFound: there is none of that name.
            InvalidSpec: the change needs a new table.
        """
        answers = self._transport.each(methods.UPDATE_TABLE, tables_pb2.UpdateTableRequest(spec=spec.to_proto()))
        self._forget([spec.name])
        return self._remember(TableSpec.from_proto(answers[0].table.spec))

    def drop_table(self, name: str, *, missing_ok: bool = False, force: bool = False) -> bool:
        """Deletes a table with all its rows, in RAM and in Redis, on every shard.

        Args:
            force: also if a stored model version or a running job holds the table.
        Returns:
            Whether there was one.
        Raises:
            TableNotFound: there was none, and `missing_ok` is False.
            TableHeld: somebody holds it; the message names who. Nothing was dropped.
        """
        first = tables_pb2.DropTableRequest(name=name, missing_ok=missing_ok, force=force)
        dropped = self._transport.one(methods.DROP_TABLE, 0, first, retry=missing_ok).dropped
        # The others may not have loaded the table, or have dropped it with the catalog's entry.
        rest = tables_pb2.DropTableRequest(name=name, missing_ok=True, force=force)
        others = [(shard, rest) for shard in range(1, self.calls.layout.shard_count)]
        answers = self._transport.run(methods.DROP_TABLE, others)
        self._forget([name])
        return dropped or any(answer.dropped for answer in answers)

    def hold_tables(self, holder: str, tables: Sequence[str], *, run: str = "", ttl_s: float = 60.0) -> Hold:
        """Holds tables for a running job: until the hold is closed, nobody drops or clears them without `force`.

        Args:
            holder: who holds, in words that a person understands: "run 3 of two_tower".
            tables: names; they need not exist yet.
            run: the run that trains them from now on; versions that read the tables live notice a change of it.
            ttl_s: how long the hold outlives a job that died; it is renewed at a third of that, in a thread.
        Returns:
            The hold; use it in a `with`, or close it.
        """
        seconds("ttl_s", ttl_s)
        return Hold(self._transport, holder, tuple(tables), run=run, ttl_s=ttl_s)

    def holders(self, table: str) -> list[str]:
        """Who holds a table: stored model versions and running jobs, in words."""
        request = tables_pb2.ListHoldersRequest(table=table)
        return list(self._transport.one(methods.LIST_HOLDERS, self._transport.present[0], request).holders)

    def pull(
        self,
        keys: Mapping[str, Any],
        *,
        max_staleness_s: float | None = None,
        at_least: Mapping[int, int] | None = None,
        dtype: str | None = None,
    ) -> dict[str, npt.NDArray[np.float32]]:
        """Reads rows of several tables for training, in one request per shard; see `Table.pull`.

        Args:
            keys: table name -> [...] integers.
            max_staleness_s: how old the rows may be, for this read; 0: the owners'; None: what the client was made
                with. For clients that were made with it.
            at_least: another client's `position`, whose mutations must show.
            dtype: how the rows travel, for this read: as for `wire_dtype`, or "int8" (docs/protocol.md); None: as ever.
        Returns:
            Table name -> [..., dim] float32, read-only.
        """
        calls = self.calls.reading(max_staleness_s, at_least, dtype)
        return self._fresh("pull", keys.items(), lambda: training.pull(calls, self._spec, keys, self._wire_dtype))

    def push(
        self,
        gradients: Mapping[str, tuple[Any, Any] | tuple[Any, Any, Any]],
        *,
        step: int | None = None,
        learning_rate: float | None = None,
        clip_value: float | None = None,
        max_norm: float | None = None,
    ) -> dict[str, int]:
        """Applies gradients to several tables, in one request per shard; see `Table.push`.

        A shard applies its request to all tables or to none.

        Args:
            gradients: table name -> (keys, gradients) or (keys, gradients, counts).
        Returns:
            Table name -> the step that was used; 0 for a table without keys.
        """
        for table, part in gradients.items():
            if not isinstance(part, tuple) or len(part) not in (2, 3):
                raise InvalidRequest(
                    f"push: table {table!r}: expected a tuple (keys, gradients) or (keys, gradients, counts), "
                    f"got {type(part).__name__}"
                )
        pushes = [Push(table, *part) for table, part in gradients.items()]
        return self.push_all(pushes, step=step, learning_rate=learning_rate, clip_value=clip_value, max_norm=max_norm)

    def push_all(
        self,
        pushes: Sequence[Push],
        *,
        step: int | None = None,
        learning_rate: float | None = None,
        clip_value: float | None = None,
        max_norm: float | None = None,
    ) -> dict[str, int]:
        """What `push` and `Table.push` share."""
        more = training.Overrides(step, learning_rate, clip_value, max_norm)
        keys = [(part.table, part.keys) for part in pushes]
        return self._fresh("push", keys, lambda: training.push(self.calls, self._spec, pushes, more, self._wire_dtype))

    def lookup(
        self,
        keys: Mapping[str, Any],
        *,
        max_staleness_s: float | None = None,
        at_least: Mapping[int, int] | None = None,
        dtype: str | None = None,
    ) -> dict[str, Rows]:
        """Reads stored rows of several tables, in one request per shard; see `Table.lookup`.

        Args:
            keys: table name -> [...] integers.
            max_staleness_s, at_least, dtype: see `pull`.
        Returns:
            Table name -> rows, always float32, zero where there is none.
        Side effects: renews `last_used` of stored rows in tables whose spec says `track_reads`.
        """
        calls = self.calls.reading(max_staleness_s, at_least, dtype)
        if self._wire_dtype != columns.FLOAT32:  # What is kept was rounded on its way.
            calls = dataclasses.replace(calls, near=None)
        return self._fresh("lookup", keys.items(), lambda: storing.lookup(calls, self._spec, keys))

    def position(self) -> dict[int, int]:
        """By shard, the position of the last mutation of rows that this client was acknowledged; for `at_least`.

        Shards that it has not changed since it was made are left out. For clients made with `max_staleness_s`.
        """
        return positions_of(self._transport)

    def store(self, parts: Sequence[Store]) -> dict[str, int]:
        """Stores rows of several tables, in one request per shard, which a shard applies whole or not at all.

        A batch beyond a request's limits is sent in several; if one of them fails, the earlier ones stay applied.

        Returns:
            Table name -> how many rows are new, or, with `exists`, were added to or inserted.
        """
        keys = [(part.table, part.keys) for part in parts]
        return self._fresh("store", keys, lambda: storing.store(self.calls, self._spec, parts))

    def follow(
        self, tables: str | Sequence[str], *, since: str | None = None, detail: str = "rows", name: str = ""
    ) -> Follower:
        """Follows tables: batches of what changes in them, as it happens, until the follower is closed.

        The connection is made anew after cuts, take-overs and falling behind, from where it was; where nobody knows
        any more what changed since, a picture comes (`ChangeBatch.restarted`).

        Args:
            tables: their names; an empty list: all tables, also those that are created later.
            since: None: a picture of all rows comes first; "now": what changes from now on, that is, from before this
                returns; the `position` of a batch or of a follower: what changed since then.
            detail: "rows": keys, values and positions; "keys": which rows changed.
            name: who follows, for people; empty: host and process.
        Returns:
            The follower, once every shard has answered; iterate over it in a `with`, or `poll` it, and close it.
        Raises:
            TableNotFound: there is none of a name.
            ShardUnavailable, NotReady, DeadlineExceeded: a shard did not answer within the client's `timeout_s`.
        """
        return Follower(self._transport, self.calls.layout, tables, since, detail, name)

    def near_cache(self) -> dict[str, NearTableStats]:
        """What is kept near of each table that was read, and its hits; empty for clients that keep nothing."""
        return {} if self._near is None else self._near.stats()

    def stats(self, table: str | None = None) -> list[TableStats]:
        """Sizes and counters over all shards, of one table or of all by name. Raises `TableNotFound`."""
        by_name: dict[str, list[admin_pb2.TableStats]] = {}
        for answer in self._transport.each(methods.GET_STATS, admin_pb2.GetStatsRequest(table=table or "")):
            for stats in answer.tables:
                by_name.setdefault(stats.table, []).append(stats)
        return [admin.merge_table_stats(parts) for _, parts in sorted(by_name.items())]

    def shard_stats(self, table: str | None = None) -> list[ShardStats]:
        """What each shard says of itself, in the order of the shards."""
        answers = self._transport.each(methods.GET_STATS, admin_pb2.GetStatsRequest(table=table or ""))
        return [admin.shard_stats(target, answer) for target, answer in zip(self._answering(), answers, strict=True)]

    def health(self) -> list[ShardHealth]:
        """How each shard's owner is: requests and their times, journal, write-back, memory, Redis."""
        answers = self._transport.each(methods.GET_HEALTH, diagnosis_pb2.GetHealthRequest())
        return [diagnosis.shard_health(target, one) for target, one in zip(self._answering(), answers, strict=True)]

    def evictions(
        self,
        table: str | None = None,
        *,
        limit: int = 100,
        since_s: float | None = None,
        until_s: float | None = None,
        reasons: Sequence[str] = (),
    ) -> list[EvictionEvent]:
        """The latest eviction cycles of one table or of all, newest first.

        Args:
            since_s, until_s: Unix seconds, the latter not included; None: no bound.
            reasons: of "capacity", "bytes", "ttl", "restrict", "manual"; empty: all.
        """
        request = admin.evictions_request(table, limit=limit, since_s=since_s, until_s=until_s, reasons=reasons)
        answers = self._transport.each(methods.LIST_EVICTIONS, request)
        # The history is the cluster's, so that shards may tell the same events.
        events = {admin.eviction_event(message) for answer in answers for message in answer.events}
        return sorted(events, key=lambda event: (-event.at_ms, event.table, event.shard))[:limit]

    def eviction_advice(self, table: str | None = None) -> list[Advice]:
        """What the shards found out within the last hour about tables that evict rows too early; empty: nothing."""
        return asking.advice(self.calls, table or "")

    def flush(self) -> int:
        """Writes every changed row to Redis, however long that takes; returns how many rows were written. Raises
        `DeadlineExceeded` when a shard has written nothing for `timeout_s`."""
        return flushing.flush(self._transport)

    def server_info(self) -> list[ServerInfo]:
        """Every shard and its limits, asked now, in the order of the shards."""
        answers = self._transport.each(methods.GET_SERVER_INFO, admin_pb2.GetServerInfoRequest())
        return [admin.server_info(target, answer) for target, answer in zip(self._answering(), answers, strict=True)]

    def shards(self, *, timeout_s: float = 1.0) -> list[ShardProcess]:
        """Every process that serves or follows a shard, as far as it can be found, by shard, owners first.

        Args:
            timeout_s: how long to wait for one that may not answer.
        """
        return survey.survey(
            self._transport.shards, self._transport.stopping, timeout_s=seconds("timeout_s", timeout_s)
        )

    def _answering(self) -> list[str]:
        """The addresses of the servers that the last answer of all is from."""
        return [self._transport.shards[shard].target for shard in self._transport.present]

    def _get(self, shard: int, name: str) -> TableSpec:
        request = tables_pb2.GetTableRequest(name=name)
        return TableSpec.from_proto(self._transport.one(methods.GET_TABLE, shard, request).table.spec)

    def _spec(self, name: str) -> TableSpec:
        found = self._tables.get(name)
        return (found or self.table(name)).spec

    def _remember(self, spec: TableSpec) -> Table:
        table = Table(self, spec)
        with self._tables_lock:
            self._tables[spec.name] = table
        return table

    def _forget(self, names: Sequence[str]) -> None:
        with self._tables_lock:
            for name in names:
                self._tables.pop(name, None)
        if self._near is not None:
            self._near.forget(names)

    def _fresh(self, verb: str, keys: Collection[tuple[str, Any]], call: Callable[[], T]) -> T:
        """Forgets what it knows of tables that turn out to be gone or different."""
        with rows_span(verb, keys):
            try:
                return call()
            except (TableNotFound, DimMismatch):
                self._forget([table for table, _ in keys])
                raise


# The clients of this process that were unpickled, by their servers and options.
_unpickled: dict[tuple[Any, ...], Client] = {}
_unpickled_lock = forks.Lock()


def _reopened(targets: tuple[str, ...], options: tuple[tuple[str, Any], ...]) -> Client:
    """What a pickled client is unpickled as."""
    with _unpickled_lock:
        client = _unpickled.get((targets, options))
        if client is None or client._transport.closed:
            client = _unpickled[targets, options] = Client(targets, **dict(options))
        return client
