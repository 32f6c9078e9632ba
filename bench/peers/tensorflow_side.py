"""The coordinator of TensorFlow's ParameterServerStrategy; its workers are the clients.

Ten steps run in a loop in a `tf.function` on a worker, which is how it is at its best; or one, which the coordinator
schedules each time. Variables lie on the parameter server, of which they can neither grow nor go.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from .lines import serve
from .work import ACCUMULATOR, BATCHES, RATE, Work

LOOP = 10


def main() -> None:
    """Makes the variables, then does what it is told."""
    work = Work.given()
    cluster = work.server["cluster"]
    os.environ["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": {"type": "chief", "index": 0}})
    tf.config.threading.set_inter_op_parallelism_threads(8)
    strategy = tf.distribute.ParameterServerStrategy(tf.distribute.cluster_resolver.TFConfigClusterResolver())
    coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
    with strategy.scope():
        tables = [_Table(work) for _ in work.tables]
    batches, gradients = work.batches(), work.gradients()

    def pull(keys: Any, number: Any) -> Any:
        return tf.add_n([tf.reduce_sum(table.pull(keys)) for table in tables])

    def push(keys: Any, number: Any) -> Any:
        moved = tf.constant(gradients) * (
            1.0 + 1e-6 * tf.cast(number, tf.float32)
        )  # A constant would lie on the server.
        with tf.control_dependencies([table.push(keys, moved) for table in tables]):
            return tf.constant(0.0)

    def step(keys: Any, number: Any) -> Any:
        rows = [table.pull(keys) for table in tables]
        base = tf.constant(gradients)
        done = [table.push(keys, base + 1e-6 * part) for table, part in zip(tables, rows, strict=True)]
        with tf.control_dependencies(done):
            return tf.constant(0.0)

    bodies = {"pull": pull, "push": push, "step": step}
    looped = {what: _function(body, batches, LOOP) for what, body in bodies.items()}
    single = {f"scheduled {what}": _function(body, batches, 1) for what, body in bodies.items()}
    schedule = _Schedule(coordinator, work.clients, {**looped, **single})
    serve(
        {},
        lambda keys: tf.gather(tables[0].values, keys).numpy().tolist(),
        acts={
            "time": schedule.timed,
            "run": schedule.run,
            "batch": lambda number: batches[number].tolist(),
        },
    )
    os._exit(0)  # The coordinator's threads wait for workers that are ended, too.


class _Table:
    """Values and the optimizer's state, which lie and move on the parameter server."""

    def __init__(self, work: Work) -> None:
        shape = [work.rows, work.dim]
        self.values = tf.Variable(lambda: tf.random.normal(shape, seed=work.seed), dtype=tf.float32)
        count, start = (1, ACCUMULATOR) if work.optimizer == "adagrad" else (2, 0.0)
        self._state = [tf.Variable(lambda: tf.fill(shape, start), dtype=tf.float32) for _ in range(count)]
        self._steps: Any = tf.Variable(0.0) if work.optimizer == "adam" else None

    def pull(self, keys: Any) -> Any:
        return tf.gather(self.values, keys)

    def push(self, keys: Any, gradient: Any) -> Any:
        with tf.device(self.values.device):
            if self._steps is None:
                return tf.raw_ops.ResourceSparseApplyAdagradV2(
                    var=self.values.handle, accum=self._state[0].handle, lr=RATE, epsilon=1e-7, grad=gradient,
                    indices=keys, use_locking=False,
                )  # fmt: skip
            return self._adam(keys, gradient)

    def _adam(self, keys: Any, gradient: Any) -> Any:
        """Of the pushed rows alone, as what it is compared with does; Keras's own moves every row of the variable."""
        first, second = self._state
        step = self._steps.assign_add(1.0)
        m = 0.9 * tf.gather(first, keys) + 0.1 * gradient
        v = 0.999 * tf.gather(second, keys) + 0.001 * tf.square(gradient)
        rate = RATE * tf.sqrt(1.0 - tf.pow(0.999, step)) / (1.0 - tf.pow(0.9, step))
        done = [
            tf.raw_ops.ResourceScatterUpdate(resource=first.handle, indices=keys, updates=m),
            tf.raw_ops.ResourceScatterUpdate(resource=second.handle, indices=keys, updates=v),
            tf.raw_ops.ResourceScatterSub(
                resource=self.values.handle, indices=keys, updates=rate * m / (tf.sqrt(v) + 1e-7)
            ),
        ]
        return tf.group(*done)


def _function(body: Callable[[Any, Any], Any], batches: Any, steps: int) -> Any:
    """A function of the worker: seconds of `steps` steps by its clock, from batch `first` on."""

    def run(first: Any) -> Any:
        keys = tf.constant(batches)
        began = tf.timestamp()
        with tf.control_dependencies([began]):
            _, total = tf.while_loop(
                lambda number, total: number < first + steps,
                lambda number, total: (number + 1, total + body(keys[number % BATCHES], number)),
                (first, tf.constant(0.0)),
                parallel_iterations=1,
            )
        with tf.control_dependencies([total]):
            ended = tf.timestamp()
        return ended - began, total

    return tf.function(run, input_signature=[tf.TensorSpec([], tf.int32)])


class _Schedule:
    def __init__(self, coordinator: Any, clients: int, functions: dict[str, Any]) -> None:
        self._coordinator = coordinator
        self._clients = clients
        self._functions = functions

    def timed(self, what: str, count: int, first: int) -> list[float]:
        """Seconds a step: of each loop on a worker by the worker's clock, of a scheduled one by the coordinator's."""
        steps = 1 if what.startswith("scheduled") else LOOP
        seconds = []
        for number in range(first, first + count, steps):
            began = time.perf_counter()
            inside = self._coordinator.schedule(self._functions[what], args=(tf.constant(number % BATCHES),))
            self._coordinator.join()
            waited = time.perf_counter() - began
            seconds.append(waited if steps == 1 else float(inside.fetch()[0]) / steps)
        return seconds

    def run(self, what: str, begin: float, seconds: float) -> tuple[int, float]:
        """Steps of all workers together, and how long they took: as many loops as fill about so many seconds."""
        steps = 1 if what.startswith("scheduled") else LOOP
        self._batch(what, self._clients)  # Everybody knows the function.
        took = self._batch(what, 2 * self._clients)
        loops = self._clients * max(2, round(seconds / took * 2))
        time.sleep(max(0.0, begin - time.monotonic()))
        return loops * steps, self._batch(what, loops)

    def _batch(self, what: str, loops: int) -> float:
        began = time.monotonic()
        for number in range(loops):
            first = number * LOOP * 7 % BATCHES  # Workers are at different batches at any time.
            self._coordinator.schedule(self._functions[what], args=(tf.constant(first),))
        self._coordinator.join()
        return time.monotonic() - began


if __name__ == "__main__":
    main()
