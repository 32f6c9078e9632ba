"""The one line that puts a TFRA model's tables on Rowbank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import tensorflow as tf
from tensorflow_recommenders_addons import dynamic_embedding as de

from rowbank import TableSpec
from rowbank.credentials import Credentials
from rowbank.errors import TableNotFound
from rowbank.remote.clients import shared_client, targets_of
from rowbank.tfra.codec import Codec, codec_for
from rowbank.tfra.keys import IntegerKeys, KeyCodec, StringKeys
from rowbank.tfra.naming import table_name
from rowbank.tfra.store import RowStore
from rowbank.tfra.strings import ENTRY_WIDTH, Dictionary
from rowbank.tfra.table import RemoteTable

if TYPE_CHECKING:
    from rowbank import Client, Table


class TableCreator(de.KVCreator):
    """Creates TFRA's tables on Rowbank: pass it as `kv_creator` to `de.get_variable` or a `de.keras.layers` layer.

    A variable's rows, each of its optimizer slots and the status of a restrict policy become tables of the server,
    named after TFRA's names, so that a rerun goes on with the rows it finds. One creator may serve all variables of a
    program: what it keeps is no more than which strings it has seen.

    Args:
        target: "host:port", several of them, an open `rowbank.Client`, or None for ROWBANK_TARGETS.
        prefix: put before every table's name with a slash; tells models on one server apart.
        durability: of new tables: "relaxed", "journaled" or "synced"; None: the server's default.
        timeout_s: deadline of one call, in seconds; None: the client's default. Not for an open client.
        client_options: further arguments of the client that is opened for the target, such as `near_cache_bytes` and
            `max_staleness_steps`; see docs/near-cache.md. Not for an open client.
        saver: a `de.FileSystemSaver`, as for any creator of TFRA.
        credentials: whom to trust and which token to show; None: what the environment says. Not for an open client,
            and never part of a saved model, which goes by the environment where it is loaded.
    """

    def __init__(
        self,
        target: str | Sequence[str] | Client | None = None,
        *,
        prefix: str = "",
        durability: str | None = None,
        timeout_s: float | None = None,
        client_options: Mapping[str, Any] | None = None,
        saver: Any = None,
        credentials: Credentials | None = None,
    ) -> None:
        super().__init__(config=None, saver=saver)
        self._target = target
        self._timeout_s = timeout_s
        self._credentials = credentials
        self._client_options = dict(client_options or {})
        self.prefix = prefix
        self.durability = durability
        self._dictionary: Dictionary | None = None

    @property
    def client(self) -> Client:
        """The client in use: the one given, or the one that all creators of this process share for the target."""
        return shared_client(
            self._target,
            timeout_s=self._timeout_s,
            client_options=self._client_options,
            credentials=self._credentials,
        )

    @tf.autograph.experimental.do_not_convert  # Slots are created inside `fit`, which rewrites what it calls.
    def create(
        self,
        key_dtype: Any = None,
        value_dtype: Any = None,
        default_value: Any = None,
        name: str | None = None,
        checkpoint: bool | None = None,
        init_size: int | None = None,
        config: Any = None,
        device: Any = None,
        shard_saveable_object_fn: Any = None,
        **kwargs: Any,
    ) -> RemoteTable:
        """Finds or creates the server table for one TFRA table.

        Args:
            key_dtype: int64, int32 or string.
            value_dtype: a type that `codec` stores.
            default_value: [dim] tensor for missing keys.
            name: TFRA's name of the table.
            checkpoint: whether checkpoints hold the rows.
            shard_saveable_object_fn: of a saver.
            init_size, config, device, kwargs: of no meaning here: rows live on the server.
        Raises:
            TypeError: a type that Rowbank does not store.
            ValueError: no name, or the server has a table of that name with other rows.
        """
        if not name:
            raise ValueError("TableCreator.create: a table needs a name, which is how a rerun finds it; got none")
        key_dtype, value_dtype = _checked_types(key_dtype, value_dtype)
        default_value = tf.convert_to_tensor(default_value, dtype=value_dtype)
        dim = default_value.shape.num_elements()
        codec = codec_for(value_dtype.name)
        table = self._find_or_create(table_name(name, self.prefix), codec, dim)
        return RemoteTable(
            self._store(table, codec, dim, key_dtype, value_dtype),
            key_dtype=key_dtype,
            value_dtype=value_dtype,
            default_value=default_value,
            name=name,
            checkpoint=bool(checkpoint),
            saveable_factory=shard_saveable_object_fn,
        )

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs; an open client is named by its addresses."""
        return {
            "target": targets_of(self._target),
            "prefix": self.prefix,
            "durability": self.durability,
            "timeout_s": self._timeout_s,
            "client_options": dict(self._client_options),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> TableCreator:
        """The creator that `get_config` described."""
        return cls(**config)

    def open_store(self, table: str, *, dim: int, key_dtype: str, value_dtype: str) -> RowStore:
        """The rows of a table of the server, which is there already.

        Args:
            table: the server's name of it.
            dim: values per row.
            key_dtype, value_dtype: as TensorFlow names them.
        Raises:
            TableNotFound: it is not there.
            ValueError: it has other rows.
        """
        codec = codec_for(value_dtype)
        found = _checked(self.client.table(table), codec, dim)
        return self._store(found, codec, dim, tf.as_dtype(key_dtype), tf.as_dtype(value_dtype))

    def _store(self, table: Table, codec: Codec, dim: int, key_dtype: tf.DType, value_dtype: tf.DType) -> RowStore:
        keys: KeyCodec = IntegerKeys(key_dtype.as_numpy_dtype)
        if key_dtype == tf.string:
            keys = StringKeys(self._strings())

        def describe() -> dict[str, Any]:
            place = {"table": table.name, "dim": dim, "key_dtype": key_dtype.name, "value_dtype": value_dtype.name}
            return {"creator": self.get_config(), **place}

        return RowStore(
            self.client,
            table,
            dim=dim,
            codec=codec,
            value_dtype=value_dtype.as_numpy_dtype,
            keys=keys,
            describe=describe,
        )

    def _strings(self) -> Dictionary:
        if self._dictionary is None:
            self._dictionary = Dictionary(self._string_table)
        return self._dictionary

    def _string_table(self, name: str) -> Table:
        """A dictionary's table: journaled at least, since no row may outlive its string."""
        durability = "journaled" if self.durability in (None, "relaxed") else self.durability
        return self._open(table_name(name, self.prefix), ENTRY_WIDTH, "float32", durability)

    def _open(self, name: str, width: int, storage: str, durability: str | None) -> Table:
        try:
            return self.client.table(name)
        except TableNotFound:
            spec = TableSpec(name, dim=width, value_dtype=storage, durability=durability)
            return self.client.create_table(spec, exist_ok=True)

    def _find_or_create(self, name: str, codec: Codec, dim: int) -> Table:
        return _checked(self._open(name, codec.row_width(dim), codec.storage, self.durability), codec, dim)


def _checked(table: Table, codec: Codec, dim: int) -> Table:
    width = codec.row_width(dim)
    if (table.spec.dim, table.spec.value_dtype) != (width, codec.storage):
        raise ValueError(
            f"table {table.name!r} exists with rows of {table.spec.dim} {table.spec.value_dtype}; the variable needs "
            f"rows of {width} {codec.storage} ({dim} {codec.dtype} values). Drop the table "
            f"(rowbank table drop {table.name}), or tell the models apart with TableCreator(prefix=...)"
        )
    return table


def _checked_types(key_dtype: Any, value_dtype: Any) -> tuple[tf.DType, tf.DType]:
    keys, values = tf.as_dtype(key_dtype), tf.as_dtype(value_dtype)
    if keys not in (tf.int64, tf.int32, tf.string):
        raise TypeError(f"Rowbank keys are int64, int32 or string, got {keys.name}")
    return keys, values
