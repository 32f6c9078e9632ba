"""The tables' part of one training step: pull and push with Adam and frequencies, beside TFRA's own path."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import rowbank

from . import services, tfra_tables
from .core_workloads import fill_cuckoo
from .grpc_workloads import fill_rowbank
from .keys import BATCHES, query_batches, random_rows, table_keys
from .report import Figure, Settings, speedup
from .timing import take_turns

_TABLES = ("user", "item")


def train_step(settings: Settings) -> list[Figure]:
    """Reads and trains 2 x batch rows with Adam and counts their frequencies, as a training step does."""
    keys = table_keys(settings)
    batches = query_batches(settings, keys)
    gradients = random_rows(settings, settings.batch)
    with contextlib.ExitStack() as stack:
        ours, theirs = (stack.enter_context(services.running_redis()) for _ in range(2))
        client = stack.enter_context(rowbank.Client(stack.enter_context(services.running_ps(ours))))
        for name in _TABLES:
            spec = rowbank.TableSpec(name, dim=settings.dim, optimizer=rowbank.Adam(1e-3))
            fill_rowbank(client.create_table(spec), settings, keys)
        client.flush()

        def step_rowbank(number: int) -> None:
            batch = batches[number % BATCHES]
            client.pull(dict.fromkeys(_TABLES, batch))
            client.push(dict.fromkeys(_TABLES, (batch, gradients)))

        creator = stack.enter_context(tfra_tables.redis_config(theirs, tag="step"))
        timings = take_turns(
            {
                "rowbank": step_rowbank,
                "TFRA on Redis": _tfra_step(settings, keys, gradients, prefix="redis", kv_creator=creator),
                "TFRA on Cuckoo": _tfra_step(settings, keys, gradients, prefix="cuckoo"),
            },
            rounds=settings.rounds,
            calls_per_round=max(1, settings.calls_per_round // 4),
        )
    rows = settings.batch * len(_TABLES)
    return [
        speedup("train_step", timings["rowbank"], timings["TFRA on Redis"], at_least=10.0, rows=rows),
        speedup("train_step", timings["rowbank"], timings["TFRA on Cuckoo"], at_least=None, rows=rows),
    ]


def _tfra_step(
    settings: Settings, keys: Any, gradients: Any, *, prefix: str, **options: object
) -> Callable[[int], object]:
    """TFRA's path: shadow variables, DynamicEmbeddingOptimizer over legacy Adam, FrequencyRestrictPolicy."""
    tf, de = tfra_tables.load()
    shadows = []
    for name in _TABLES:
        variable = tfra_tables.cuckoo_variable(
            f"{prefix}_{name}", dim=settings.dim, restrict_policy=de.FrequencyRestrictPolicy, **options
        )
        fill_cuckoo(variable, settings, keys)
        shadows.append(de.shadow_ops.ShadowVariable(variable, name=f"{prefix}_{name}_shadow"))
    optimizer = de.DynamicEmbeddingOptimizer(tf.keras.optimizers.legacy.Adam(1e-3))
    target = tf.constant(gradients)

    def step(ids: Any) -> None:
        with tf.GradientTape() as tape:
            rows = [
                de.shadow_ops.embedding_lookup_unique(shadow, ids, settings.dim, with_unique=False)
                for shadow in shadows
            ]
            loss = tf.add_n([tf.reduce_sum(part * target) for part in rows])
        optimizer.apply_gradients(zip(tape.gradient(loss, shadows), shadows, strict=True))

    compiled = tf.function(step)
    tensors = [tf.constant(batch) for batch in query_batches(settings, keys)]
    return lambda number: compiled(tensors[number % BATCHES])
