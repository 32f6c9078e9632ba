"""When the events of a file's rows were."""

from __future__ import annotations

import datetime
import math
import re
from typing import Any

import numpy as np
import numpy.typing as npt

from rowbank.files.feature_cells import NUMBER, Cells
from rowbank.files.table_file import arrow

LATEST_S = 1e11
_ISO_S = re.compile(r"\d{4}-\d\d-\d\d")
_TIMES = "Unix seconds from 0 to 1e11, a timestamp or ISO 8601 text such as 2026-01-31T09:30:00Z"


def event_times_us(cells: Cells) -> npt.NDArray[np.int64]:
    """When events were: [N] int64, microseconds since 1970. Raises InvalidFile: the first cell that is no time."""
    pa, _ = arrow()
    values = cells.values
    if not isinstance(values, list) and (pa.types.is_timestamp(values.type) or pa.types.is_date(values.type)):
        moments = values.cast(pa.timestamp("us", getattr(values.type, "tz", None)), safe=False)
        micros = moments.cast(pa.int64()).fill_null(-1).to_numpy()
    elif not isinstance(values, list) and (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
        seconds = values.cast(pa.float64(), safe=False).fill_null(-1).to_numpy(zero_copy_only=False)
        micros = _micros(seconds)
    else:
        known: dict[Any, int] = {}
        texts = (cells.at(place) for place in range(len(values)))
        micros = np.fromiter((_moment_us(text, known) for text in texts), np.int64, len(values))
    bad = np.flatnonzero((micros < 0) | (micros >= int(LATEST_S * 1e6)))
    if len(bad):
        place = int(bad[0])
        raise cells.bad(place, cells.at(place), _TIMES, "correct it, or import without event times: then it is now")
    return np.asarray(micros, np.int64)


def _micros(seconds: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    sound = np.isfinite(seconds) & (seconds >= 0) & (seconds < LATEST_S)
    return np.where(sound, np.rint(np.where(sound, seconds, 0) * 1e6), -1).astype(np.int64)


def _moment_us(value: Any, known: dict[Any, int]) -> int:
    """A number or text as microseconds; -1: it is no moment. Equal ones, which are frequent, are parsed once."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return -1
    if value not in known:
        known[value] = _parsed_moment_us(value)
    return known[value]


def _parsed_moment_us(value: int | float | str) -> int:
    try:
        if not isinstance(value, str) or re.match(NUMBER, value):
            number = float(value)
            return round(number * 1e6) if math.isfinite(number) and 0 <= number < LATEST_S else -1
        if not _ISO_S.match(value):
            return -1
        moment = datetime.datetime.fromisoformat(value.strip().replace("Z", "+00:00"))
    except (ValueError, OverflowError):
        return -1
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.timezone.utc)
    return round((moment - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)).total_seconds() * 1e6)
