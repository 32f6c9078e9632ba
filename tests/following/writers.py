"""Writers that change tables in every way there is, at random."""

from __future__ import annotations

import dataclasses
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from tests.server.support import Wire

from rowbank import Client, TableSpec, snapshots
from rowbank.errors import RowbankError, from_rpc_error
from rowbank.initializers import Uniform
from rowbank.optimizers import FTRL, SGD, Adagrad, Adam, AdamW, Momentum, RMSprop, RowwiseAdagrad
from rowbank.rows import ExportChunk, Store
from rowbank.specs import Admission, Eviction
from rowbank_protos.v1 import common_pb2, snapshots_pb2, snapshots_pb2_grpc

_KEYS = 600
_OPTIMIZERS = (SGD, Momentum, Adagrad, RowwiseAdagrad, Adam, AdamW, RMSprop, FTRL)
_DTYPES = ("float32", "float16", "bfloat16")
_DURABILITIES = ("journaled", "relaxed", "synced")  # The last needs a Redis that syncs.
_EVICTIONS = (
    Eviction(),
    Eviction("lfu", max_rows=300),
    Eviction("lru", max_rows=200),
    Eviction(ttl_s=2.0),
)


def specs() -> list[TableSpec]:
    """One table per optimizer, with value types, durabilities and policies dealt out."""
    return [
        TableSpec(
            f"t{number}",
            dim=3 + number,
            value_dtype=_DTYPES[number % 3],
            initializer=Uniform(-1, 1, seed=number),
            optimizer=optimizer(0.1),
            admission=Admission(3) if number in (2, 5) else Admission(),
            eviction=_EVICTIONS[number % 4],
            durability=_DURABILITIES[number % 3],
            frequency_half_life_s=5.0 if number == 3 else 0.0,
        )
        for number, optimizer in enumerate(_OPTIMIZERS)
    ]


class Writer(threading.Thread):
    """Does this and that to random tables, while `going` is set. What fails because a server is gone, fails."""

    def __init__(self, target: str, seed: int, folder: Path, going: threading.Event, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self._target = target
        self._random = random.Random(seed)
        self._rng = np.random.default_rng(seed)
        self._folder = folder
        self._going = going
        self._stopping = stop
        self._number = 0
        self._seed = seed
        self.busy = threading.Lock()
        self.done: Counter[str] = Counter()
        self.failure: BaseException | None = None

    def run(self) -> None:
        kinds: list[tuple[int, Callable[[Client], None]]] = [
            (40, self._push), (8, self._upsert), (8, self._accumulate), (8, self._store), (6, self._remove),
            (6, self._touch), (4, self._import), (1, self._clear), (2, self._restrict), (2, self._update),
            (1, self._drop_and_create), (1, self._freeze), (1, self._save_and_restore),
        ]  # fmt: skip
        weights = [weight for weight, _ in kinds]
        try:
            with Client(self._target, timeout_s=20, connect_timeout_s=20) as client:
                while not self._stopping.is_set():
                    if not self._going.wait(0.1):
                        continue
                    (act,) = self._random.choices([kind for _, kind in kinds], weights)
                    with self.busy:
                        if self._going.is_set():
                            self._try(client, act)
        except BaseException as error:  # Handed to the test.
            self.failure = error

    def _try(self, client: Client, act: Callable[[Client], None]) -> None:
        try:
            act(client)
        except RowbankError:  # A table that another writer dropped, a server that is gone.
            self.done["failed"] += 1
        else:
            self.done[act.__name__.strip("_")] += 1

    def _table(self, client: Client):
        return client.table(f"t{self._random.randrange(len(_OPTIMIZERS))}")

    def _keys(self) -> np.ndarray:
        # The lower keys are used more often, so that policies have something to choose from.
        return (self._rng.random(self._random.randint(1, 60)) ** 2 * _KEYS).astype(np.int64)

    def _values(self, table, keys: np.ndarray) -> np.ndarray:
        return self._rng.normal(size=(len(keys), table.dim)).astype(np.float32)

    def _push(self, client: Client) -> None:
        parts = {}
        for _ in range(self._random.randint(1, 3)):
            table = self._table(client)
            keys = self._keys()
            parts[table.name] = (keys, self._values(table, keys))
        client.push(parts)

    def _upsert(self, client: Client) -> None:
        table, keys = self._table(client), np.unique(self._keys())
        table.upsert(keys, self._values(table, keys))

    def _accumulate(self, client: Client) -> None:
        table, keys = self._table(client), np.unique(self._keys())
        table.accumulate(keys, self._values(table, keys), self._rng.random(len(keys)) < 0.5)

    def _store(self, client: Client) -> None:
        parts = []
        for name in {self._table(client).name for _ in range(2)}:
            table, keys = client.table(name), np.unique(self._keys())
            exists = None if self._random.random() < 0.5 else self._rng.random(len(keys)) < 0.5
            parts.append(Store(name, keys, self._values(table, keys), exists=exists, touch=self._random.random() < 0.5))
        client.store(parts)

    def _remove(self, client: Client) -> None:
        self._table(client).remove(self._keys()[:10])

    def _touch(self, client: Client) -> None:
        self._table(client).touch(np.unique(self._keys()))

    def _import(self, client: Client) -> None:
        table, keys = self._table(client), np.unique(self._keys())
        count = len(keys)
        chunk = ExportChunk(
            keys, self._values(table, keys), np.full(count, 7, np.uint32), np.full(count, int(time.time()), np.uint32)
        )
        table.import_rows([chunk], step=self._random.randrange(50))

    def _clear(self, client: Client) -> None:
        self._table(client).clear(force=True)

    def _restrict(self, client: Client) -> None:
        self._table(client).restrict(self._random.randrange(20, 300))

    def _update(self, client: Client) -> None:
        name = self._table(client).name
        spec = next(spec for spec in specs() if spec.name == name)
        rate, durability = self._random.choice((0.1, 0.05, 0.01)), self._random.choice(_DURABILITIES)
        optimizer: Any = spec.optimizer
        optimizer = dataclasses.replace(optimizer, learning_rate=rate)
        client.update_table(dataclasses.replace(spec, optimizer=optimizer, durability=durability))

    def _drop_and_create(self, client: Client) -> None:
        spec = self._random.choice(specs())
        client.drop_table(spec.name, missing_ok=True, force=True)
        client.create_table(spec, exist_ok=True)

    def _freeze(self, client: Client) -> None:
        """A copy as a model's version has one, in the place of the one before."""
        self._number += 1
        snapshot_id, source = f"s{self._seed}-{self._number}", self._table(client).name
        name = f"frozen{self._seed}"
        client.drop_table(name, missing_ok=True, force=True)
        wire = Wire(self._target)
        try:
            stub = snapshots_pb2_grpc.SnapshotServiceStub(wire.channel)
            stub.BeginSnapshot(snapshots_pb2.BeginSnapshotRequest(snapshot_id=snapshot_id, hold_ms=1000), timeout=20)
            stub.ResumeMutations(snapshots_pb2.ResumeMutationsRequest(snapshot_id=snapshot_id), timeout=20)
            request = snapshots_pb2.FreezeTableRequest(
                snapshot_id=snapshot_id,
                table=source,
                frozen_name=name,
                value_dtype=self._random.choice((common_pb2.DATA_TYPE_FLOAT16, common_pb2.DATA_TYPE_UNSPECIFIED)),
            )
            stub.FreezeTable(request, timeout=20)
            stub.EndSnapshot(snapshots_pb2.EndSnapshotRequest(snapshot_id=snapshot_id), timeout=20)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None
        finally:
            wire.close()

    def _save_and_restore(self, client: Client) -> None:
        self._number += 1
        name = f"{self._seed}-{self._number}"
        snapshots.save(client, str(self._folder), name=name)
        table = self._table(client).name
        snapshots.restore(client, str(self._folder / name), tables=[table], replace=True, force=True)
