"""Keeps the rows of a table in a dict, as fresh as a second: python cache.py TABLE [POSITION]

Begins with all rows, or, given the position that it printed when it was stopped, with what changed since.
"""

from __future__ import annotations

import sys

import numpy as np

from rowbank import ChangeBatch, Client

Cache = dict[int, np.ndarray]


def take_in(cache: Cache, batch: ChangeBatch) -> None:
    """Makes a cache what the table was when the batch was made."""
    if batch.restarted or batch.dropped:  # What is cached of this shard is void.
        keys = list(cache)
        for key, mine in zip(keys, batch.covers(keys), strict=True):
            if mine:
                del cache[key]
    if batch.values is not None:
        cache.update(zip(batch.keys.tolist(), batch.values, strict=True))
    for key in batch.removed.tolist():
        cache.pop(key, None)


def main(table: str, since: str | None = None) -> None:
    """Follows a table until Ctrl-C."""
    cache: Cache = {}
    with Client() as client, client.follow(table, since=since, name="cache") as follower:
        try:
            for batch in follower:
                take_in(cache, batch)
                if follower.whole:
                    print(f"{len(batch.keys)} changed, {len(batch.removed)} removed: {len(cache)} rows", flush=True)
        except KeyboardInterrupt:
            print(f"stopped at {follower.position}")


if __name__ == "__main__":
    main(*sys.argv[1:3])
