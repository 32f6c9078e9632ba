"""A Keras model whose `fit` does the host parts of a `RemoteEmbedding` around a compiled step."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import tensorflow as tf

from rowbank.keras.framework import KERAS_3, keras
from rowbank.keras.remote import RemoteEmbedding
from rowbank.remote import Batch
from rowbank.remote.pipeline import Lookahead

Arrays = Mapping[str, Any]


class RemoteModel(keras.Model):
    """Trains a network on the activations of a `RemoteEmbedding` with `fit`, `evaluate` and `predict` as ever.

    Each step looks its features up, runs one compiled function on static shapes (forward, loss, gradients, the model's
    optimizer; under XLA with `compile(jit_compile=True)`) and pushes the gradients of the rows. With
    `pipeline_execution` lookups and pushes run beside it. All gradients are applied when an epoch's callbacks and
    validation begin, and when `fit` returns.

    The inputs of the data set are the features, nested as the configuration. If that is a dict, the inputs may have
    more entries: they reach the network beside the activations.

    Args:
        embedding: the features and tables.
        network: what turns activations into outputs, a Keras model or layer, or None in a subclass with a `call` of
            its own: `call(activations, training=None)`.
        name, kwargs: as for any model.
    """

    train_function: Any
    test_function: Any
    predict_function: Any

    def __init__(
        self, embedding: RemoteEmbedding, network: Any = None, *, name: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.embedding = embedding
        self.network = network

    def call(self, inputs: Any, training: Any = None) -> Any:
        """The network's output for activations (not features: see `RemoteEmbedding.lookup`)."""
        if self.network is None:
            raise NotImplementedError(f"{type(self).__name__}: give a network, or a `call` of its own")
        return self.network(inputs, training=training)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """As for any model. Raises `ValueError` for several steps per execution and for loss scaling."""
        if kwargs.get("steps_per_execution", 1) != 1:
            raise ValueError(f"steps_per_execution: expected 1, got {kwargs['steps_per_execution']!r}")
        super().compile(*args, **kwargs)
        scaling = getattr(keras.mixed_precision if not KERAS_3 else keras.optimizers, "LossScaleOptimizer")  # noqa: B009
        if isinstance(self.optimizer, scaling):
            raise ValueError("rows are not trained under loss scaling; use mixed_bfloat16 instead of mixed_float16")

    def fit(self, x: Any = None, y: Any = None, *, callbacks: Any = None, **kwargs: Any) -> Any:
        """As for any model; everything is pushed when it returns, also by an exception."""
        given = callbacks if isinstance(callbacks, (list, tuple)) else [] if callbacks is None else [callbacks]
        try:
            with self._accumulating():
                history = super().fit(x, y, callbacks=[_Flush(self.embedding), *given], **kwargs)
        except BaseException:
            self._wait_quietly()
            raise
        self.embedding.flush()
        return history

    def make_train_function(self, force: bool = False) -> Callable[[Any], Any]:
        """One step: a batch with its lookups, the compiled part, the push."""
        if self.train_function is not None and not force:
            return self.train_function
        _refuse_replicas()
        step = self._compiled(self._train_on)
        lookahead = Lookahead(self._prepare, ahead=self.embedding.tables.pipeline.background)

        def train(source: Any) -> Any:
            batch, others, y, weight = lookahead.take(source)
            self._check_accumulation()
            logs, gradients = step({"rows": batch.rows, "indices": batch.indices}, others, y, weight)
            self.embedding.apply_gradients(batch, gradients)
            return logs

        self.train_function = train
        return train

    def make_test_function(self, force: bool = False) -> Callable[[Any], Any]:
        """One step of `evaluate`."""
        if self.test_function is None or force:
            step = self._compiled(lambda looked, others, y, weight: self._test_on(looked, others, y, weight))
            self.test_function = self._reading(step)
        return self.test_function

    def make_predict_function(self, force: bool = False) -> Callable[[Any], Any]:
        """One step of `predict`."""
        if self.predict_function is None or force:
            step = self._compiled(lambda looked, others, y, weight: self.predict_step((self._inputs(looked, others),)))
            self.predict_function = self._reading(step)
        return self.predict_function

    def _reading(self, step: Callable[..., Any]) -> Callable[[Any], Any]:
        def read(source: Any) -> Any:
            self.embedding.flush()
            data = source[0] if isinstance(source, (list, tuple)) else next(source)
            batch, others, y, weight = self._prepare(data)
            return step({"rows": batch.rows, "indices": batch.indices}, others, y, weight)

        return read

    def _prepare(self, data: Any) -> tuple[Batch, Any, Any, Any]:
        """Starts the lookups of one element of the data set."""
        x, y, weight = _unpack(data)
        config = self.embedding.feature_config
        others: dict[str, Any] = {}
        if isinstance(config, dict) and isinstance(x, dict):
            others = {name: part for name, part in x.items() if name not in config}
            x = {name: part for name, part in x.items() if name in config}
        return self.embedding.enqueue(x), others, y, weight

    def _compiled(self, step: Callable[..., Any]) -> Callable[..., Any]:
        if self.run_eagerly:
            return step
        return tf.function(step, jit_compile=bool(self.jit_compile) or None, autograph=False)

    def _inputs(self, looked: Arrays, others: Arrays) -> Any:
        activations = self.embedding(looked)
        return {**activations, **others} if others else activations

    def _train_on(self, looked: Arrays, others: Arrays, y: Any, weight: Any) -> tuple[Any, dict[str, Any]]:
        rows = {name: tf.convert_to_tensor(part) for name, part in looked["rows"].items()}
        with tf.GradientTape() as tape:
            tape.watch(rows)
            inputs = self._inputs({**looked, "rows": rows}, others)
            y_pred = self(inputs, training=True)
            loss = self._loss(inputs, y, y_pred, weight)
        variables = self.trainable_weights
        gradients, row_gradients = tape.gradient(loss, [variables, rows])
        self._apply(variables, gradients)
        logs = self.compute_metrics(inputs, y, y_pred, weight)
        return logs or {"loss": loss}, {
            name: tf.convert_to_tensor(part) for name, part in row_gradients.items() if part is not None
        }

    def _test_on(self, looked: Arrays, others: Arrays, y: Any, weight: Any) -> Any:
        return self.test_step((self._inputs(looked, others), y, weight))

    def _loss(self, x: Any, y: Any, y_pred: Any, weight: Any) -> tf.Tensor:
        if not KERAS_3:
            return self.compute_loss(x, y, y_pred, weight)
        loss = self.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=weight, training=True)
        self._loss_tracker.update_state(loss, sample_weight=tf.shape(tf.nest.flatten(x)[0])[0])
        return loss

    def _apply(self, variables: list[Any], gradients: list[Any]) -> None:
        """Trains what is no row: by the optimizer of `compile`, but small tables that name one by theirs."""
        own = {id(variable): optimizer for optimizer, variable in self.embedding.own_optimizers}
        pairs: dict[int, tuple[Any, list[Any]]] = {}
        for gradient, variable in zip(gradients, variables, strict=True):
            optimizer = own.get(id(variable), self.optimizer)
            pairs.setdefault(id(optimizer), (optimizer, []))[1].append((gradient, variable))
        for optimizer, of_optimizer in pairs.values():
            optimizer.apply_gradients(of_optimizer)

    def _accumulating(self) -> AbstractContextManager[Any]:
        """Holds gradients of rows back for as many batches as Keras 3's optimizer does, which applies their mean."""
        batches = getattr(self.optimizer, "gradient_accumulation_steps", None)
        if not batches or self.embedding.tables.holds_gradients:
            return contextlib.nullcontext()
        if self.embedding.own_optimizers:
            raise ValueError(
                f"gradient_accumulation_steps={batches}: expected no tables in the trainer with an optimizer of their "
                "own, whose gradients are not accumulated; leave the optimizer of their TableConfig out"
            )
        return self.embedding.accumulated_gradients(every=batches, scale=1.0 / batches)

    def _check_accumulation(self) -> None:
        batches = getattr(self.optimizer, "gradient_accumulation_steps", None)
        if batches and not self.embedding.tables.holds_gradients:
            raise ValueError(
                f"gradient_accumulation_steps={batches}: a batch by itself would push its rows at once; use fit, or "
                f"with embedding.accumulated_gradients(every={batches}, scale=1 / {batches})"
            )

    def _wait_quietly(self) -> None:
        """Lets the last push end while an exception is on its way, which is not to be hidden by another."""
        try:
            self.embedding.flush()
        except Exception as error:
            tf.get_logger().warning("the last push failed too: %s", error)


class _Flush(keras.callbacks.Callback):
    """Applies everything before the other callbacks see the end of an epoch."""

    def __init__(self, embedding: RemoteEmbedding) -> None:
        super().__init__()
        self._embedding = embedding

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        del epoch, logs
        self._embedding.flush()


def _unpack(data: Any) -> tuple[Any, Any, Any]:
    """(x, y, sample_weight) of an element; Keras 3 marks absent parts by empty optionals."""
    if KERAS_3 and isinstance(data, tuple):
        data = tuple(None if isinstance(part, tf.experimental.Optional) else part for part in data)
    x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
    return x, y, weight


def _refuse_replicas() -> None:
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    if replicas > 1:
        raise ValueError(f"a RemoteModel trains on one replica in each process, got a strategy of {replicas}")
