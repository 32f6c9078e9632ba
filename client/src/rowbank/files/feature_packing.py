"""Columns of values as the wire carries them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rowbank.features import TYPES
from rowbank.files.table_file import arrow
from rowbank_protos.v1 import features_pb2


def column(name: str, kind: str, values: Any) -> features_pb2.FeatureColumn:
    """The message for cells that `typed` made."""
    import pyarrow.compute as pc

    pa, _ = arrow()
    made = features_pb2.FeatureColumn(name=name, type=TYPES[kind])
    if values.null_count:
        made.present = values.is_valid().cast(pa.uint8()).to_numpy().tobytes()
    if kind.endswith("_list"):
        counts = pc.fill_null(pc.list_value_length(values), 0)
        made.counts = counts.to_numpy().astype("<u4").tobytes()
        values = values.flatten()
    if kind.startswith("string"):
        ends, data = _texts(pc.fill_null(values, ""))
        made.texts, made.text_bytes = data, np.diff(ends).astype("<u4").tobytes()
    elif kind == "bool":
        made.numbers = pc.fill_null(values, False).cast(pa.uint8()).to_numpy().tobytes()
    else:
        form = {"int64": "<i8", "double": "<f8", "int64_list": "<i8", "float_list": "<f4"}[kind]
        made.numbers = pc.fill_null(values, 0).to_numpy(zero_copy_only=False).astype(form, copy=False).tobytes()
    return made


def _texts(values: Any) -> tuple[npt.NDArray[Any], bytes]:
    """Where each text ends, from 0, and all of them, of an array without nulls."""
    _, offsets, data = values.buffers()
    ends = np.frombuffer(offsets, np.int64)[values.offset : values.offset + len(values) + 1] if offsets else np.zeros(1)
    if not len(values) or data is None:
        return np.zeros(len(values) + 1, np.int64), b""
    return ends - ends[0], bytes(memoryview(data)[int(ends[0]) : int(ends[-1])])
