// What the evicting parts of RowTable share: the order of rows, and taking rows out of a bucket.
#pragma once

#include <vector>

#include "row_table.h"
#include "table_visit.h"

namespace rowbank {

// A row's place in the order of eviction. The hash of a key is unique, so the order is total: any cut through it keeps
// an exact number of rows and every run makes the same choice.
struct RowTable::Ranked {
  double score = 0;
  std::uint32_t last_used = 0;
  std::uint32_t frequency = 0;
  std::uint64_t hash = 0;
  std::int64_t key = 0;

  // True when this row goes before the other: lower score, then older use, then larger hash.
  bool operator<(const Ranked& other) const {
    if (score != other.score) return score < other.score;
    if (last_used != other.last_used) return last_used < other.last_used;
    return hash > other.hash;
  }
};

// Problem: choosing reads all of a bucket's metadata, and readers must not wait for that. Idea: choose under the shared
// lock, then take the exclusive lock only to erase, looking every chosen key up again: one that was used in between, or
// is gone, no longer satisfies `doomed` and stays.
template <typename Doomed>
std::uint64_t RowTable::evict_where(Bucket& bucket, std::uint64_t limit, std::uint32_t now, Doomed doomed,
                                    std::vector<std::int64_t>& gone) {
  constexpr std::size_t kAhead = 16;
  std::vector<std::int64_t> chosen;
  {
    const SharedLock lock(bucket.mutex());
    std::vector<RowRef> refs;
    refs.reserve(bucket.size());
    bucket.index().for_each([&refs](RowRef ref) { refs.push_back(ref); });
    for (std::size_t i = 0; i < refs.size() && chosen.size() < limit; ++i) {
      if (i + kAhead < refs.size()) {
        __builtin_prefetch(bucket.row(refs[i + kAhead]));
      }
      const RowHeader& header = RowLayout::header(bucket.row(refs[i]));
      if (doomed(header)) {
        chosen.push_back(header.key);
      }
    }
  }
  if (chosen.empty()) {
    return 0;
  }
  std::uint64_t evicted = 0;
  {
    const UniqueLock lock(bucket.mutex());
    for (const std::int64_t key : chosen) {
      const std::uint64_t hash = hash_key(key);
      const RowRef ref = bucket.find(hash, key);
      if (ref != kNoRow && doomed(RowLayout::header(bucket.row(ref)))) {
        bucket.preserve(key, ref);
        bucket.erase(hash, ref);
        bucket.note_evicted(hash, now);
        gone.push_back(key);
        ++evicted;
      }
    }
    bucket.compact_if_sparse();
  }
  rows_.fetch_sub(static_cast<std::int64_t>(evicted), std::memory_order_relaxed);
  return evicted;
}

}  // namespace rowbank
