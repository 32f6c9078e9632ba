"""Rowbank's client: embedding tables on a parameter server, as NumPy arrays.

    import rowbank

    with rowbank.Client("127.0.0.1:7700") as client:
        users = client.create_table(rowbank.TableSpec("user", dim=64, optimizer=rowbank.Adagrad(0.1)), exist_ok=True)
        values = users.pull([3, 1, 3])          # [3, 64] float32
        users.push([3, 1, 3], gradients)        # summed per key, applied by the server

Names are imported when they are first used, so that the command line starts without NumPy and gRPC.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from rowbank._version import __version__

_HOMES = {
    "rowbank.client": ("Client",),
    "rowbank.table": ("Table",),
    "rowbank.credentials": ("Credentials",),
    "rowbank.rows": ("ExportChunk", "Rows", "Store"),
    "rowbank.admin": ("RestrictReport",),
    "rowbank.insight": ("WhatIf",),
    "rowbank.calls.following.follower": ("Follower",),
    "rowbank.changes": ("ChangeBatch",),
    "rowbank.specs": (
        "FTRL", "SGD", "Adagrad", "Adam", "AdamW", "Admission", "Constant", "Eviction", "Momentum", "Normal",
        "RMSprop", "RowwiseAdagrad", "TableSpec", "TruncatedNormal", "Uniform", "Zeros",
    ),
    "rowbank.retrieval": ("AsyncRetrievalClient", "RetrievalClient"),
    "rowbank.errors": ("RowbankError",),
}  # fmt: skip
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

if TYPE_CHECKING:
    from rowbank.admin import RestrictReport
    from rowbank.calls.following.follower import Follower
    from rowbank.changes import ChangeBatch
    from rowbank.client import Client
    from rowbank.credentials import Credentials
    from rowbank.errors import RowbankError
    from rowbank.insight import WhatIf
    from rowbank.retrieval import AsyncRetrievalClient, RetrievalClient
    from rowbank.rows import ExportChunk, Rows, Store
    from rowbank.specs import (
        FTRL,
        SGD,
        Adagrad,
        Adam,
        AdamW,
        Admission,
        Constant,
        Eviction,
        Momentum,
        Normal,
        RMSprop,
        RowwiseAdagrad,
        TableSpec,
        TruncatedNormal,
        Uniform,
        Zeros,
    )
    from rowbank.table import Table

__all__ = [
    "FTRL",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Admission",
    "AsyncRetrievalClient",
    "ChangeBatch",
    "Client",
    "Constant",
    "Credentials",
    "Eviction",
    "ExportChunk",
    "Follower",
    "Momentum",
    "Normal",
    "RMSprop",
    "RestrictReport",
    "RetrievalClient",
    "RowbankError",
    "Rows",
    "RowwiseAdagrad",
    "Store",
    "Table",
    "TableSpec",
    "TruncatedNormal",
    "Uniform",
    "WhatIf",
    "Zeros",
    "__version__",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'rowbank' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
