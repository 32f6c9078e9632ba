"""A replay of a trace through an eviction policy in plain Python, which the native one is held against."""

from __future__ import annotations

import math

import numpy as np

from rowbank.hashing import hash_keys

GOLDEN = 0x9E3779B97F4A7C15
WORD = 2**64 - 1


def lots_of(keys):
    return {
        key: int(hash_) * GOLDEN & WORD for key, hash_ in zip(keys, hash_keys(np.array(keys, np.int64)), strict=True)
    }


class Policy:
    """Rows as {key: [frequency, last_used]}. A cycle runs after each second."""

    def __init__(
        self, policy, cap_rows=0, low_watermark=0.9, half_life_s=0.0, ttl_s=0, min_count=0, regret_window_s=3600
    ):
        self.policy, self.cap_rows, self.low_watermark = policy, cap_rows, low_watermark
        self.half_life_s, self.ttl_s, self.min_count = half_life_s, ttl_s, min_count
        self.regret_window_s = regret_window_s
        self.rows, self.seen, self.evicted = {}, {}, {}
        self.regretted = 0

    def aged(self, row, now):
        if not self.half_life_s:
            return row[0]
        return float(np.float32(float(row[0]) * 2.0 ** (-max(now - row[1], 0) / self.half_life_s)))

    def used(self, row, count, now):
        last_used = max(row[1], now)
        if not self.half_life_s:
            return [row[0] + count, last_used]
        return [float(np.float32(self.aged(row, last_used)) + np.float32(count)), last_used]

    def push(self, key, now, count=1):
        """True: it had a row."""
        row = self.rows.get(key)
        if row is None:
            left = self.evicted.pop(key, None)
            if left is not None and now - left <= self.regret_window_s:
                self.regretted += 1
            before = 0
            if self.min_count > 1:
                before = self.seen.get(key, 0)
                self.seen[key] = before + count
                if self.seen[key] < self.min_count:
                    return False
            self.rows[key] = self.used([before, now], count, now)
            return False
        self.rows[key] = self.used(row, count, now)
        return True

    def cycle(self, now, lots):
        if self.ttl_s:
            self._take([key for key, row in self.rows.items() if row[1] < now - self.ttl_s], now)
        if self.policy != "none" and self.cap_rows and len(self.rows) > self.cap_rows:
            goal = math.floor(self.cap_rows * self.low_watermark)

            def rank(key):
                row = self.rows[key]
                return (self.aged(row, now) if self.policy == "lfu" else row[1], row[1], lots[key])

            self._take(sorted(self.rows, key=rank)[: len(self.rows) - goal], now)

    def _take(self, keys, now):
        for key in keys:
            del self.rows[key]
            self.evicted[key] = now


def zipf_trace(seed=3, ids=3000, steps=60, batch=200, swaps=20):
    """[(second, keys)], with repeats taken out of each batch, as clients do; ids trade popularity as time goes by."""
    random = np.random.default_rng(seed)
    key_of_rank = random.permutation(ids) * 7919 - 10_000
    trace = []
    for now in range(1000, 1000 + steps):
        for first, second in random.integers(0, ids, (swaps, 2)):
            key_of_rank[[first, second]] = key_of_rank[[second, first]]
        trace.append((now, np.unique(key_of_rank[random.zipf(1.2, batch) % ids])))
    return trace
