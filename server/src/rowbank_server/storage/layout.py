"""Names of the keys in Redis; docs/redis-layout.md says what each holds.

What changes together shares a hash tag, the part in braces, so that it sits on one node of a Cluster: a table's bucket
with its epoch and its quarantine, a shard's state with its journal.
"""

from __future__ import annotations

from dataclasses import dataclass

COLD_SLOTS = 8


@dataclass(frozen=True, slots=True)
class Layout:
    """Every key under one namespace."""

    namespace: str

    @property
    def catalog(self) -> str:
        """Hash: table name -> its entry as JSON; fields that start with # are the catalog's own."""
        return f"{self.namespace}:catalog"

    @property
    def shards(self) -> str:
        """Hash: the highest number of shards that ever served this namespace."""
        return f"{self.namespace}:shards"

    @property
    def holds(self) -> str:
        """Hash: holder -> the tables that a running job holds, its run and when the hold ends, as JSON."""
        return f"{self.namespace}:holds"

    @property
    def rows_wanted(self) -> str:
        """String, empty, expires: somebody wants to read rows from Redis as they are now."""
        return f"{self.namespace}:rows-wanted"

    @property
    def tokens(self) -> str:
        """Hash: id of a token -> who it is for, with a hash of its text, as JSON; its revocation; its last use."""
        return f"{self.namespace}:tokens"

    @property
    def evictions(self) -> str:
        """Stream, capped: what was evicted."""
        return f"{self.namespace}:evictions"

    @property
    def emptied(self) -> str:
        """Hash: shard and table name -> when the table was cleared or dropped there, as JSON."""
        return f"{self.namespace}:emptied"

    def departures(self, table_id: int, shard: int) -> str:
        """Hash: chunk -> what is in it, as JSON."""
        return f"{self.namespace}:{{t{table_id}.s{shard}}}:departures"

    def departed(self, table_id: int, shard: int, chunk: str) -> str:
        """String, expires: packed columns of keys that left a table's shard, and why."""
        return f"{self.namespace}:{{t{table_id}.s{shard}}}:departed:{chunk}"

    def state(self, shard: int) -> str:
        """Hash: a shard's epoch, flush counter, number of shards, steps and journals."""
        return f"{self.namespace}:{{s{shard}}}:state"

    def lease(self, shard: int) -> str:
        """String, expires: which process owns a shard, as long as it says so."""
        return f"{self.namespace}:{{s{shard}}}:lease"

    def members(self, shard: int) -> str:
        """Hash: name of a process -> what it says about itself, as JSON."""
        return f"{self.namespace}:{{s{shard}}}:members"

    def common(self, shard: int) -> str:
        """Hash: table id -> the packed row that a shard's keys without rows of their own share."""
        return f"{self.namespace}:{{s{shard}}}:common"

    def dedup(self, shard: int) -> str:
        """Hash: client id -> the outcomes of its latest mutations."""
        return f"{self.namespace}:{{s{shard}}}:dedup"

    def journal(self, shard: int, stream: str) -> str:
        """Stream: the mutations that one process acknowledged; `stream` is its epoch and name, `5:name`."""
        return f"{self.namespace}:{{s{shard}}}:journal:{stream}"

    def sealed_journal(self, shard: int, stream: str) -> str:
        """The same stream after a successor took it from its writer."""
        return f"{self.namespace}:{{s{shard}}}:journal:{stream}:sealed"

    def journal_quarantine(self, shard: int) -> str:
        """Hash: journal records that failed their checks, as they were found."""
        return f"{self.namespace}:{{s{shard}}}:journal:quarantine"

    def epoch(self, table_id: int, bucket: int) -> str:
        """String: epoch and name of the process that may write the bucket."""
        return f"{self.namespace}:{{t{table_id}.b{bucket}}}:epoch"

    def rows(self, table_id: int, bucket: int) -> str:
        """Hash: 8-byte little-endian key -> packed row."""
        return f"{self.namespace}:{{t{table_id}.b{bucket}}}:rows"

    def rows_rebuilt(self, table_id: int, bucket: int) -> str:
        """A bucket that is being written anew; it is renamed to `rows` when it is whole."""
        return f"{self.namespace}:{{t{table_id}.b{bucket}}}:rows:rebuilt"

    def cold(self, table_id: int, bucket: int, slot: int) -> str:
        """Hash: 8-byte little-endian key -> position of its eviction and packed row, of rows that may come back."""
        return f"{self.namespace}:{{t{table_id}.b{bucket}}}:cold:{slot}"

    def quarantine(self, table_id: int, bucket: int) -> str:
        """Hash: rows of a bucket that failed their checks, as they were found."""
        return f"{self.namespace}:{{t{table_id}.b{bucket}}}:quarantine"
