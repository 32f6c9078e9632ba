"""Python functions in graphs, by names that mean the same in every process.

Problem: TensorFlow stores with an operation only the token of the Python function that it calls: `pyfunc_17`, a number
of the process that made it. A graph that is loaded elsewhere, from a SavedModel or a meta graph, finds nothing under
it, or another function. Idea: the tokens of ours say what the function does, on which table of which server; a process
that meets a token of another one makes the function anew from it. What it cannot do: a function that shares work with
others of its graph (`steps`) has state that no token holds. Of those, the reading ones are made anew without sharing;
the writing ones refuse to run elsewhere.

A loading process must have imported `rowbank.tfra`; the token begins with that advice, since TensorFlow's error shows
it where nobody did.
"""

from __future__ import annotations

import itertools
import json
import uuid
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from tensorflow.python.ops import script_ops  # Where TensorFlow keeps its Python functions; there is no public way.

from rowbank.tfra.failures import InvalidArgument

_PREFIX = "(import rowbank.tfra before this graph runs) "
_PROCESS = uuid.uuid4().hex  # A child made by fork has its parent's functions, too.
_numbers = itertools.count()

Function = Callable[..., Any]
Maker = Callable[[dict[str, Any]], Function]

_makers: dict[str, Maker] = {}
_known: dict[str, Function] = {}


def number() -> int:
    """A number for one object of this process, which tells its functions from those of its like."""
    return next(_numbers)


@dataclass(frozen=True, slots=True)
class Named:
    """A function, and how another process makes its like.

    Attributes:
        call: the function.
        owner: a `number`; functions of the same owner and description are the same.
        kind: which maker makes it; "": none, it runs in this process only.
        settings: plain values for the maker, or {"what": ...} for the error.
    """

    call: Function
    owner: int
    kind: str
    settings: dict[str, Any]

    @property
    def token(self) -> str:
        """The name by which the graph knows it."""
        described = {"kind": self.kind, "of": f"{_PROCESS}/{self.owner}", "settings": self.settings}
        return _PREFIX + json.dumps(described, sort_keys=True)


def local(call: Function, what: str) -> Named:
    """A function that nobody can make anew; `what` it does is for the error that another process gets."""
    return Named(call, number(), "", {"what": what})


def run(function: Named, inputs: list[Any], outputs: Any, name: str | None = None) -> Any:
    """A function as an operation of the graph, or called at once in eager mode; otherwise as `tf.numpy_function`."""
    with tf.device("/CPU:0"):  # Where Python functions run.
        if tf.executing_eagerly():
            return tf.numpy_function(function.call, inputs, outputs, name=name)
        token = function.token
        _known.setdefault(token, function.call)
        several = isinstance(outputs, (list, tuple))
        given = [tf.convert_to_tensor(value) for value in inputs]
        answer = tf.raw_ops.PyFunc(input=given, token=token, Tout=outputs if several else [outputs], name=name)
        return answer if several else answer[0]


def makes(kind: str) -> Callable[[Maker], Maker]:
    """Registers what makes the functions of a kind from their settings."""

    def register(maker: Maker) -> Maker:
        _makers[kind] = maker
        return maker

    return register


class _Registry(weakref.WeakValueDictionary[str, Any]):
    """TensorFlow's functions by token; ours are made when first asked for."""

    def get(self, token: str, default: Any = None) -> Any:
        if not token.startswith(_PREFIX):
            return super().get(token, default)
        if token not in _known:
            described = json.loads(token.removeprefix(_PREFIX))
            make = _makers.get(described["kind"], _refusing)
            _known[token] = make(described["settings"])
        return _known[token]


def _refusing(settings: dict[str, Any]) -> Function:
    def refuse(*args: Any) -> Any:
        del args
        raise InvalidArgument(
            f"{settings['what']} belongs to a training step that another process traced, and runs there only; to train "
            "in this process, build the model anew (its rows are on the server): loaded functions read"
        )

    return refuse


script_ops._py_funcs._funcs = _Registry(script_ops._py_funcs._funcs)
