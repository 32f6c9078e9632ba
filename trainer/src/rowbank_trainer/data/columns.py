"""Tables of interactions as users have them: which column is which."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rowbank_trainer.data.reading import Source
from rowbank_trainer.errors import DataError

# Names by which a column is recognised, in lower case and without anything but letters and digits.
_KNOWN = {
    "user": ("user", "userid", "uid", "useridx", "customer", "customerid", "visitor", "visitorid"),
    "item": ("item", "itemid", "iid", "itemidx", "movieid", "productid", "articleid", "trackid", "venueid", "asin"),
    "time": ("time", "timestamp", "ts", "datetime", "eventtime", "unixtime", "date"),
    "weight": ("weight",),
    "title": ("title", "itemtitle", "itemname", "movietitle", "producttitle", "productname"),
}


@dataclass(frozen=True, slots=True)
class ColumnNames:
    """Names of columns; None: recognised by usual names, and if optional left out where there is none."""

    user: str | None = None
    item: str | None = None
    time: str | None = None
    weight: str | None = None
    title: str | None = None


def find_column(source: Source, role: str, given: str | None, *, required: bool) -> str | None:
    """The name of the column that plays `role` ("user", "item", "time", "weight", "title").

    Raises:
        DataError: the given one is missing, none is recognised although `required`, or several are.
    """
    listed = ", ".join(source.columns)
    if given is not None:
        if given not in source.columns:
            raise DataError(
                f"{source.path}: no column {given!r} (--{role}-column); its columns are {listed}{source.hint()}"
            )
        return given
    found = recognised(source.columns, role)
    if len(found) > 1 and len(set(found)) > 1:
        raise DataError(
            f"{source.path}: columns {', '.join(found)} may all be the {role}; say which: --{role}-column NAME"
        )
    if not found and required:
        raise DataError(
            f"{source.path}: no column is recognised as the {role}; its columns are {listed}; say which: "
            f"--{role}-column NAME{source.hint()}"
        )
    return found[0] if found else None


def recognised(columns: Sequence[str], role: str) -> list[str]:
    """The columns whose names are usual ones of a role."""
    return [name for name in columns if re.sub(r"[^a-z0-9]", "", name.lower()) in _KNOWN[role]]
