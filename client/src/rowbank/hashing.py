"""Where a key lives: the same hash, bucket and shard as the server computes, for whole arrays at once.

The hash is the splitmix64 step (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA
2014): add the golden ratio, then mix with two multiplications. A bucket is chosen by the upper 32 bits, so that an
index inside a bucket has the lower ones to itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

DEFAULT_BUCKET_COUNT = 256

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def hash_keys(keys: npt.NDArray[Any]) -> npt.NDArray[np.uint64]:
    """64-bit hashes of int64 keys of any shape."""
    # At least one axis: NumPy warns of overflow, which is wanted here, for numbers but not for arrays.
    z = np.atleast_1d(keys.astype(np.int64, copy=False)).view(np.uint64) + _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    return (z ^ (z >> np.uint64(31))).reshape(keys.shape)


def bucket_of(keys: npt.NDArray[Any], bucket_count: int = DEFAULT_BUCKET_COUNT) -> npt.NDArray[np.uint32]:
    """The bucket of each key, from 0 to `bucket_count` - 1; `bucket_count` is at most 2**32."""
    scaled = (hash_keys(keys) >> np.uint64(32)) * np.uint64(bucket_count)
    return (scaled >> np.uint64(32)).astype(np.uint32)


def shard_of(
    keys: npt.NDArray[Any], *, shard_count: int, bucket_count: int = DEFAULT_BUCKET_COUNT
) -> npt.NDArray[np.uint32]:
    """The shard that owns each key, from 0 to `shard_count` - 1: shards own contiguous ranges of buckets."""
    buckets = bucket_of(keys, bucket_count).astype(np.uint64)
    return (buckets * np.uint64(shard_count) // np.uint64(bucket_count)).astype(np.uint32)
