"""How a process makes the functions anew that a graph of another one names; see `functions`."""

from __future__ import annotations

import functools
import json
from typing import Any

import numpy as np
import numpy.typing as npt

from rowbank.tfra import files
from rowbank.tfra.creator import TableCreator
from rowbank.tfra.functions import Function, makes
from rowbank.tfra.policies import restrict, usage
from rowbank.tfra.store import RowStore

_Array = npt.NDArray[Any]


@makes("method")
def _method(settings: dict[str, Any]) -> Function:
    method: Function = getattr(_opened(settings["store"]), settings["name"])
    return method


@makes("save")
def _save(settings: dict[str, Any]) -> Function:
    return functools.partial(files.save, _opened(settings["store"]), **settings["options"])


@makes("load")
def _load(settings: dict[str, Any]) -> Function:
    return functools.partial(files.load, _opened(settings["store"]), **settings["options"])


@makes("first lookup")
def _first_lookup(settings: dict[str, Any]) -> Function:
    store = _opened(settings["store"])

    def read(keys: _Array, defaults: _Array) -> tuple[_Array, ...]:
        return *store.lookup(keys, defaults), np.empty(0, np.float32), np.empty(0, np.bool_)

    return read


@makes("joined lookup")
def _joined_lookup(settings: dict[str, Any]) -> Function:
    store = _opened(settings["store"])
    return lambda keys, defaults, *others: store.lookup(keys, defaults)


@makes("status")
def _status(settings: dict[str, Any]) -> Function:
    store = _opened(settings["store"])
    return lambda keys: store.status(keys, settings["column"])


@makes("usage")
def _usage(settings: dict[str, Any]) -> Function:
    stores = [_opened(store) for store in settings["stores"]]
    return lambda: usage(stores, settings["column"])


@makes("restrict")
def _restrict(settings: dict[str, Any]) -> Function:
    stores = [_opened(store) for store in settings["stores"]]
    slots = [[_opened(store) for store in slot] for slot in settings["slots"]]
    return lambda: restrict(stores, slots, **settings["options"])


def _opened(description: dict[str, Any]) -> RowStore:
    place = dict(description)
    return _creator(json.dumps(place.pop("creator"), sort_keys=True)).open_store(**place)


@functools.cache
def _creator(config: str) -> TableCreator:
    """One for all tables of a program, as what strings it has seen is its own."""
    return TableCreator.from_config(json.loads(config))
