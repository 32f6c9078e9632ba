"""The tables of a model: what a step reads of them and what it writes back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rowbank.calls import arrays
from rowbank.errors import InvalidRequest
from rowbank.optimizers import Optimizer
from rowbank.remote.accumulation import Accumulation
from rowbank.remote.clients import shared_client
from rowbank.remote.configs import FeatureConfig, TableConfig, flatten, match
from rowbank.remote.features import Parsed, StaticSize, parse
from rowbank.remote.pipeline import Pending, Pipeline

if TYPE_CHECKING:
    from rowbank.client import Client

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]
Indices = dict[str, dict[str, Array]]
_Gradients = dict[str, tuple[Any, Any, Any]]  # Table name -> keys, gradients, occurrences.


@dataclass(frozen=True, slots=True, eq=False)
class _Looked:
    """What a lookup found."""

    rows: dict[str, Floats]
    indices: Indices
    distinct: dict[str, arrays.Distinct]


class Batch:
    """The rows of one batch, perhaps still on their way; made by `RemoteTables.enqueue`."""

    def __init__(self, looked: Pending[_Looked]) -> None:
        self._looked = looked
        self._applied = False

    @property
    def rows(self) -> dict[str, Floats]:
        """Table name -> [static size, dim] float32: the distinct rows, then zeros. Waits for them.

        Raises:
            RowbankError, ValueError, TypeError: the lookup's failure.
            InvalidRequest: the batch is the parent's, and this process was forked since.
        """
        return self._looked.result().rows

    @property
    def indices(self) -> Indices:
        """Feature name -> the arrays by which its activation is made of `rows`; see `features.Parsed`. Waits."""
        return self._looked.result().indices

    @property
    def keys(self) -> dict[str, npt.NDArray[np.int64]]:
        """Table name -> [U] the distinct ids, in the order of `rows`. Waits."""
        return {table: part.keys for table, part in self._looked.result().distinct.items()}


class RemoteTables:
    """Looks the features of a batch up in tables of a server, and trains the rows: one pull and one push a step.

    The arrays a step is given have static shapes: distinct rows and combined ids are padded to sizes that are fixed by
    the configuration, or grow to the next power of two when a batch needs it. Not for several threads at once.

    Args:
        feature_config: a `FeatureConfig`, or nested dicts, lists and tuples of them.
        optimizer: of the tables that name none. It runs on the server.
        target: "host:port", several, an open client, or None for ROWBANK_TARGETS.
        wire_dtype: how rows and gradients travel: "float32", "float16", "bfloat16"; None: as the client does.
        client_options: further arguments of the client that is opened for the target; see `clients.OPTIONS`.
        pipeline_execution: whether calls run in the background, so that the lookups of step n + 1 overlap step n.
        local: names of tables that are the caller's own: their ids are checked and go to the step as they are.
    Raises:
        ValueError: two features have the same name, or two tables of the same name differ.
        TableExists: at the first lookup: the server has another table of that name.
    """

    def __init__(
        self,
        feature_config: Any,
        *,
        optimizer: Optimizer,
        target: str | Sequence[str] | Client | None = None,
        wire_dtype: str | None = None,
        client_options: Mapping[str, Any] | None = None,
        pipeline_execution: bool = True,
        local: Collection[str] = (),
    ) -> None:
        self.feature_config = feature_config
        self.optimizer = optimizer
        self.features = named_features(feature_config)
        self.configs = table_configs(self.features)
        self.pipeline = Pipeline(background=pipeline_execution)
        self._target, self._wire_dtype, self._client_options = target, wire_dtype, dict(client_options or {})
        self.local = frozenset(local)
        self._client: Client | None = None
        self._held: Accumulation[_Gradients] | None = None
        self._row_sizes = {
            name: StaticSize(f"table {name!r}: distinct ids (max_unique_rows)", config.max_unique_rows)
            for name, config in self.configs.items()
        }
        self._id_sizes = {
            name: StaticSize(f"feature {name!r}: ids (max_ids)", config.max_ids)
            for name, config in self.features.items()
        }

    @property
    def client(self) -> Client:
        """The open client, every table that is not local being there."""
        if self._client is None:
            client = shared_client(self._target, wire_dtype=self._wire_dtype, client_options=self._client_options)
            for name, config in self.configs.items():
                if name not in self.local:
                    client.create_table(config.spec(self.optimizer), exist_ok=True)
            self._client = client
        return self._client

    def enqueue(self, features: Any, weights: Any = None) -> Batch:
        """Starts the lookups of a batch; with pipelining they go on beside the caller, who leaves the arrays alone.

        Args:
            features: nested as the configuration: integer ids, dense, `Ragged` or `Sparse`, or TensorFlow's tensors.
            weights: None, or nested alike: None or floats of the form of the ids.
        Returns:
            The batch, to be given to `apply_gradients` once.
        Raises:
            ValueError: the structure is another than the configuration's.
        """
        ids = match(self.feature_config, features, "features")
        given = [None] * len(ids) if weights is None else match(self.feature_config, weights, "weights")
        return Batch(self.pipeline.read(lambda: self._look_up(ids, given)))

    def batches(
        self, elements: Iterable[Any], features: Callable[[Any], Any] = lambda element: element
    ) -> Iterator[tuple[Any, Batch]]:
        """Goes through a data set; with pipelining the lookups are one batch ahead. At the end all is pushed.

        Args:
            elements: batches of whatever a step needs.
            features: element -> what `enqueue` takes.
        Yields:
            (element, its batch).
        """
        ahead: tuple[Any, Batch] | None = None
        for element in elements:
            current = element, self.enqueue(features(element))
            if not self.pipeline.background:
                yield current
                continue
            if ahead is not None:
                yield ahead
            ahead = current
        if ahead is not None:
            yield ahead
        self.flush()

    def apply_gradients(
        self, batch: Batch, row_gradients: Mapping[str, Any], *, learning_rate: float | None = None
    ) -> None:
        """Pushes the gradients of a batch's rows; each table's optimizer applies them on the server.

        With pipelining it returns before that is done, and a failure is raised by the next call, or by `flush`.

        Args:
            row_gradients: table name -> [static size, dim], as `batch.rows`; a table that is missing or None is not
                pushed. Padding is ignored. A key's frequency grows by its occurrences in the batch.
            learning_rate: for this push; None: the tables' own.
        Raises:
            ValueError: a table is unknown, a shape is wrong, or the batch was applied already.
            RowbankError: a push failed: this one, or with pipelining the one before, this one then being left undone.
        """
        if batch._applied:
            raise ValueError("batch: its gradients were applied already")
        looked = batch._looked.result()
        gradients: dict[str, tuple[Any, Any, Any]] = {}
        for table, values in row_gradients.items():
            if table not in looked.rows:
                raise ValueError(f"row_gradients: expected tables of {', '.join(looked.rows)}, got {table!r}")
            part = looked.distinct[table]
            if values is None or not len(part.keys):
                continue
            array = np.asarray(values)
            if array.shape != looked.rows[table].shape:
                expected = looked.rows[table].shape
                raise ValueError(f"row_gradients: table {table!r}: expected shape {expected}, got {array.shape}")
            occurrences = np.ones(len(part.keys), np.uint32) if part.occurrences is None else part.occurrences
            gradients[table] = part.keys, array[: len(part.keys)], occurrences
        if self._held is not None:
            if learning_rate is not None:
                raise ValueError(
                    f"learning_rate: expected None while gradients are accumulated, got {learning_rate!r}; set it in "
                    "the tables' optimizers"
                )
            batch._applied = True
            self._held.add([_copied(gradients)])
            return
        if gradients:
            self.pipeline.write(lambda: self._push(batch, gradients, learning_rate))
        batch._applied = True

    @contextlib.contextmanager
    def accumulated_gradients(self, *, every: int | None = None, scale: float = 1.0) -> Iterator[Accumulation[Any]]:
        """Within it, `apply_gradients` holds gradients back; at its end those of all batches are pushed as one.

        A push is one step of each table's optimizer, as if the batches had been one. Leaving by an exception pushes
        nothing of what is held back. `flush` does not push it, either.

        Args:
            every: push after so many batches, too; None: at the end, and when `push` is called on what the `with`
                gives.
            scale: what the sum is multiplied by: 1.0 if the batches' losses add up, 1 / n for their mean.
        Raises:
            InvalidRequest: an argument is out of range, or gradients are held back already.
        """
        if self._held is not None:
            raise InvalidRequest("accumulated_gradients: gradients are held back already; leave that")
        self._held = Accumulation(self._push_held, every=every, scale=scale)
        try:
            yield self._held
            self._held.push()
        finally:
            self._held = None

    @property
    def holds_gradients(self) -> bool:
        """Whether gradients are held back."""
        return self._held is not None

    def _push_held(self, steps: list[_Gradients], scale: float) -> None:
        gradients: _Gradients = {}
        for table in {table: None for step in steps for table in step}:
            keys, values, occurrences = zip(*(step[table] for step in steps if table in step), strict=True)
            gradients[table] = np.concatenate(keys), np.concatenate(values) * scale, np.concatenate(occurrences)
        if gradients:
            self.pipeline.write(lambda: self.client.push(gradients))

    def flush(self) -> None:
        """Waits until all gradients are applied. Raises what the last push failed with, once."""
        self.pipeline.flush()

    def close(self) -> None:
        """`flush`, then ends the thread of the background; the client stays open."""
        self.pipeline.close()

    def _push(self, batch: Batch, gradients: Mapping[str, tuple[Any, Any, Any]], learning_rate: float | None) -> None:
        try:
            self.client.push(gradients, learning_rate=learning_rate)
        except Exception:
            batch._applied = False  # Whoever handles the failure may apply them again.
            raise

    def _look_up(self, ids: Sequence[Any], weights: Sequence[Any]) -> _Looked:
        parsed = {
            name: parse(name, config, part, weight, self._id_sizes[name])
            for (name, config), part, weight in zip(self.features.items(), ids, weights, strict=True)
        }
        indices: Indices = {}
        distinct: dict[str, arrays.Distinct] = {}
        for table in self.configs:
            users = [name for name, config in self.features.items() if config.table.name == table]
            flat = np.concatenate([parsed[name].ids for name in users])
            if table in self.local:
                self._check_local(table, flat)
                places = flat.astype(np.int32)
            else:
                distinct[table] = arrays.distinct(flat)
                inverse = distinct[table].inverse
                places = np.arange(len(flat), dtype=np.int32) if inverse is None else inverse.astype(np.int32)
            start = 0
            for name in users:
                end = start + len(parsed[name].ids)
                indices[name] = _arrays_of(parsed[name], places[start:end])
                start = end
        return _Looked(self._pull(distinct), indices, distinct)

    def _pull(self, distinct: Mapping[str, arrays.Distinct]) -> dict[str, Floats]:
        sizes = {table: self._row_sizes[table].for_count(len(part.keys)) for table, part in distinct.items()}
        wanted = {table: part.keys for table, part in distinct.items() if len(part.keys)}
        pulled = self.client.pull(wanted) if wanted else {}
        rows: dict[str, Floats] = {}
        for table, part in distinct.items():
            count = len(part.keys)
            rows[table] = np.empty((sizes[table], self.configs[table].dim), np.float32)
            if count:
                rows[table][:count] = pulled[table]
            rows[table][count:] = 0.0
        return rows

    def _check_local(self, table: str, ids: npt.NDArray[np.int64]) -> None:
        size = self.configs[table].vocabulary_size or 0
        if len(ids) and (int(ids.min()) < 0 or int(ids.max()) >= size):
            bad = int(ids[(ids < 0) | (ids >= size)][0])
            raise ValueError(f"table {table!r}: expected ids from 0 to vocabulary_size - 1 = {size - 1}, got {bad}")


def named_features(feature_config: Any) -> dict[str, FeatureConfig]:
    """The features by name, in the order of `configs.flatten`. Raises `ValueError`."""
    features: dict[str, FeatureConfig] = {}
    for path, config in flatten(feature_config):
        if not isinstance(config, FeatureConfig):
            where = f" at {path!r}" if path else ""
            raise ValueError(f"feature_config{where}: expected a FeatureConfig, got {type(config).__name__}")
        name = config.name or path or config.table.name
        if name in features:
            raise ValueError(f"feature_config: two features are named {name!r}")
        features[name] = config
    if not features:
        raise ValueError("feature_config: expected at least one feature")
    return features


def table_configs(features: Mapping[str, FeatureConfig]) -> dict[str, TableConfig]:
    """The tables by name. Raises `ValueError` if two differ under one name."""
    tables: dict[str, TableConfig] = {}
    for config in features.values():
        known = tables.setdefault(config.table.name, config.table)
        if known != config.table:
            raise ValueError(f"feature_config: two different tables are named {config.table.name!r}")
    return tables


def _arrays_of(parsed: Parsed, places: npt.NDArray[np.int32]) -> dict[str, Array]:
    return {"row": parsed.rows(places), **parsed.arrays}


def _copied(gradients: _Gradients) -> _Gradients:
    """Gradients that stay what they are, whatever the caller does with its arrays."""
    return {table: (keys, np.array(values), occurrences) for table, (keys, values, occurrences) in gradients.items()}
