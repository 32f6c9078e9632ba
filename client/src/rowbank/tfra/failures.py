"""Errors of table operations in the classes that TFRA's callers expect."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import grpc
import tensorflow as tf

from rowbank.errors import RequestError

_P = ParamSpec("_P")
_R = TypeVar("_R")


class InvalidArgument(tf.errors.InvalidArgumentError, ValueError):  # noqa: N818 - named as rowbank.errors names
    """An argument of a table operation is wrong.

    TensorFlow hands a Python function's error through as it is in eager mode, but in a graph it turns a ValueError
    into InvalidArgumentError and anything else into UnknownError. Being both, callers can catch one class in both.
    """

    def __init__(self, message: str) -> None:
        tf.errors.InvalidArgumentError.__init__(self, None, None, message)


class FileMissing(tf.errors.NotFoundError, FileNotFoundError):  # noqa: N818
    """A file of a saved table is not there."""

    def __init__(self, message: str) -> None:
        tf.errors.NotFoundError.__init__(self, None, None, message)


def in_tensorflow_terms(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Turns what the server or a check refuses into `InvalidArgument`; other errors of Rowbank stay what they are."""

    @functools.wraps(function)
    def checked(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return function(*args, **kwargs)
        except RequestError as error:
            if error.code == grpc.StatusCode.INVALID_ARGUMENT:
                raise InvalidArgument(str(error)) from error
            raise
        except tf.errors.OpError:
            raise
        except ValueError as error:
            raise InvalidArgument(str(error)) from error

    return checked
