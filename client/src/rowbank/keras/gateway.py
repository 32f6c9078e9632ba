"""Rows in the forward pass, row gradients in the backward pass, as TensorFlow operations."""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from tensorflow.python.eager import record

from rowbank.keras import steps
from rowbank.keras.steps import Asked, Given, Lookup, TracedStep

if TYPE_CHECKING:
    from rowbank import Table

_thread = threading.local()


class RowGateway:
    """Pulls rows of one table and pushes their gradients, as operations on the CPU.

    Problem: rows are no variable, so an optimizer of Keras has nothing to update, and TensorFlow takes gradients only
    towards variables. Idea: a layer owns one scalar variable, the anchor, which the rows pretend to depend on. Its
    gradient is zero; computing it is what pushes the rows' gradients, so a push happens exactly when somebody
    differentiates with respect to the layer's trainable weights. What it cannot do: gradients pass no optimizer, so
    clipping and loss scaling set there do not reach the rows.

    In a graph (`fit`, `tf.function`) all tables that are used until gradients are taken share one Pull and one Push,
    see `TracedStep`. In eager mode each use pulls, and all uses in one tape share one Push.

    Args:
        table: the server table, whose own optimizer applies the gradients.
    """

    def __init__(self, table: Table) -> None:
        self.table = table
        self.dim = table.spec.dim

    @tf.autograph.experimental.do_not_convert
    def read(self, keys: tf.Tensor) -> tf.Tensor:
        """Returns the rows of [N] int64 keys, [N, dim] float32; no gradients."""
        lookup = self._looked_up(keys) if tf.executing_eagerly() else TracedStep.current().look_up(self.table, keys)
        return tf.stop_gradient(tf.gather(lookup.rows, lookup.inverse))

    @tf.autograph.experimental.do_not_convert
    def read_to_train(self, keys: tf.Tensor, anchor: tf.Tensor, training: bool | tf.Tensor) -> tf.Tensor:
        """Returns the rows of [N] int64 keys, [N, dim] float32; differentiating them pushes.

        A push sends one gradient per distinct key, summed over its occurrences in all uses, with their number.

        Args:
            keys: repeats are pulled and pushed once.
            anchor: the scalar that a gradient is taken for.
            training: whether a push may happen, known now or when the graph runs.
        """
        if tf.executing_eagerly() and not (training and record.should_record_backprop([anchor])):
            return self.read(keys)
        return self._read_to_train(keys, anchor, training, _Expanded())[0]

    @tf.autograph.experimental.do_not_convert
    def read_distinct(
        self, keys: tf.Tensor, anchor: tf.Tensor, training: bool | tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the rows of the distinct ones of [N] int64 keys, [U, dim] float32, and [N] int32 which is each key's.

        Otherwise as `read_to_train`.
        """
        if tf.executing_eagerly() and not (training and record.should_record_backprop([anchor])):
            lookup = self._looked_up(keys)
            return tf.stop_gradient(lookup.rows), lookup.inverse
        return self._read_to_train(keys, anchor, training, _Distinct())

    def _read_to_train(
        self, keys: tf.Tensor, anchor: tf.Tensor, training: bool | tf.Tensor, form: _Expanded | _Distinct
    ) -> tuple[tf.Tensor, tf.Tensor]:
        if tf.executing_eagerly():
            return self._read_in_tape(keys, anchor, form)
        step = TracedStep.current()
        lookup = step.look_up(self.table, keys)

        @tf.custom_gradient
        def rows_by(anchor: tf.Tensor) -> Any:
            def give(upstream: Any) -> tf.Tensor:
                done = step.give(self.table, lookup, form.summed(upstream, lookup), training)
                return tf.cast(done, anchor.dtype)

            return form.rows(lookup), give

        return rows_by(anchor), lookup.inverse

    def _read_in_tape(
        self, keys: tf.Tensor, anchor: tf.Tensor, form: _Expanded | _Distinct
    ) -> tuple[tf.Tensor, tf.Tensor]:
        gate = _Gate.current(anchor)
        lookup = self._looked_up(keys)
        use = gate.new_use()

        @tf.custom_gradient
        def rows_by(token: tf.Tensor) -> Any:
            def give(upstream: Any) -> tf.Tensor:
                gradients = form.summed(upstream, lookup).numpy()
                gate.given[use] = Given(self.table, lookup.keys.numpy(), gradients, lookup.counts.numpy())
                return tf.zeros_like(token)

            return form.rows(lookup), give

        return rows_by(gate.token_of(self, anchor)), lookup.inverse

    def _looked_up(self, keys: tf.Tensor) -> Lookup:
        asked = Asked.of(self.table, keys.numpy())
        (rows,) = steps.pull([asked])
        with tf.device("/CPU:0"):
            return Lookup(0, *map(tf.constant, (np.asarray(rows), asked.inverse, asked.keys, asked.counts)))


class _Gate:
    """What all uses of rows in one tape go through in eager mode, so that their gradients are pushed together.

    Autodiff adds up what all uses say of the gate's token, so that the token's own gradient is asked for once, after
    all of theirs. Each gateway has a token behind that one, on which its own anchor hangs.
    """

    def __init__(self, anchor: tf.Tensor) -> None:
        self.given: dict[int, Given] = {}
        self._passed = False
        self._uses = itertools.count()
        self._tokens: dict[RowGateway, tf.Tensor] = {}

        @tf.custom_gradient
        def enter(anchor: tf.Tensor) -> Any:
            def leave(upstream: Any) -> tf.Tensor:
                self._passed = True
                given, self.given = self.given, {}
                steps.push(list(given.values()))
                return tf.zeros_like(upstream)

            return tf.identity(anchor), leave

        self._token = enter(anchor)

    @classmethod
    def current(cls, anchor: tf.Tensor) -> _Gate:
        """The gate of the tape that records now: in another tape, or after gradients, begins another step."""
        gate: _Gate | None = getattr(_thread, "gate", None)
        if gate is None or gate._passed or not record.should_record_backprop([gate._token]):
            gate = _thread.gate = cls(anchor)
        return gate

    def new_use(self) -> int:
        """A number for one use of rows."""
        return next(self._uses)

    def token_of(self, gateway: RowGateway, anchor: tf.Tensor) -> tf.Tensor:
        """What the rows of a gateway shall depend on: gradients reach its anchor, as zero, and the gate."""
        if gateway not in self._tokens:

            @tf.custom_gradient
            def tie(anchor: tf.Tensor, token: tf.Tensor) -> Any:
                return tf.identity(token), lambda upstream: (tf.zeros_like(anchor), upstream)

            self._tokens[gateway] = tie(anchor, self._token)
        return self._tokens[gateway]


class _Expanded:
    """A row for each key: [N, dim]."""

    def rows(self, lookup: Lookup) -> tf.Tensor:
        return tf.gather(lookup.rows, lookup.inverse)

    def summed(self, upstream: Any, lookup: Lookup) -> tf.Tensor:
        """Gradients of the rows as [U, dim], one per distinct key."""
        return tf.math.unsorted_segment_sum(tf.convert_to_tensor(upstream), lookup.inverse, tf.shape(lookup.keys)[0])


class _Distinct:
    """A row for each distinct key: [U, dim]."""

    def rows(self, lookup: Lookup) -> tf.Tensor:
        return tf.identity(lookup.rows)

    def summed(self, upstream: Any, lookup: Lookup) -> tf.Tensor:
        """Gradients of the rows, [U, dim]."""
        del lookup
        return tf.convert_to_tensor(upstream)
