"""Names of server tables for names of TFRA tables."""

from __future__ import annotations

import hashlib
import re

_LONGEST = 128  # Characters of a table name.
_FOREIGN = re.compile(r"[^A-Za-z0-9_.\-/:]")
_ONLY_SHARD = re.compile(r"_mht_1of1$")


def table_name(given: str, prefix: str = "") -> str:
    """Returns the server's name of the table that TFRA calls `given`: the same in every run, different for others.

    TFRA appends `_mht_<i>of<n>` for the i-th of n devices; with one device that says nothing and is cut off. A name
    with characters that the server refuses, or too long a one, is made fit and told apart by a digest.

    Args:
        given: the `name` that TFRA passes to `create`.
        prefix: put in front with a slash, to keep models apart.
    """
    wanted = _ONLY_SHARD.sub("", given)
    if prefix:
        wanted = f"{prefix}/{wanted}"
    fit = _FOREIGN.sub("_", wanted)
    if fit == wanted and 0 < len(fit) <= _LONGEST:
        return fit
    digest = hashlib.blake2b(wanted.encode(), digest_size=6).hexdigest()
    return f"{fit[: _LONGEST - len(digest) - 1]}.{digest}"
