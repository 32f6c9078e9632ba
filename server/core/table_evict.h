// What the evicting parts of RowTable share: taking rows out of a bucket.
#pragma once

#include <vector>

#include "packed_row.h"
#include "rank.h"
#include "row_table.h"
#include "table_visit.h"

namespace rowbank {

// Chooses and erases under one exclusive lock: headers lie in the order of memory, so that choosing takes a nanosecond
// or two a row. Limit: that is a millisecond for a bucket of half a million rows.
template <typename Doomed>
std::uint64_t RowTable::evict_where(Bucket& bucket, std::uint64_t limit, std::uint32_t now, Doomed doomed,
                                    EvictedRows& gone) {
  constexpr std::size_t kAhead = 16;
  const std::size_t kept_bytes = kept_bytes_.load(std::memory_order_relaxed);
  const std::size_t packed_bytes = packed_row_bytes();
  const UniqueLock lock(bucket.mutex());
  std::vector<RowRef> going(bucket.places() + 1);
  std::size_t count = 0;
  // Every place is written down and counted only if it goes, which is faster than a branch that cannot be predicted.
  bucket.for_each_place([&](RowRef ref, const RowHeader& header) {
    going[count] = ref;
    count += static_cast<std::size_t>(!header.vacant()) & static_cast<std::size_t>(doomed(header));
  });
  count = std::min<std::uint64_t>(count, limit);
  for (std::size_t i = 0; i < count; ++i) {
    if (i + kAhead < count) {
      bucket.index().prefetch(bucket.header(going[i + kAhead]).hash);
    }
    const RowHeader& header = bucket.header(going[i]);
    const std::uint64_t hash = header.hash;
    gone.add(header, clock_);
    if (gone.packed.size() < kept_bytes) {
      const std::size_t at = gone.packed.size();
      gone.packed.resize(at + packed_bytes);
      pack_row(layout_, header, bucket.row(going[i]), gone.packed.data() + at);
      gone.packed_keys.push_back(header.key());
    }
    bucket.preserve(hash, going[i]);
    bucket.erase(going[i]);
    bucket.note_evicted(hash, now);
  }
  if (count > 0) {
    bucket.compact_if_sparse();
    rows_.fetch_sub(static_cast<std::int64_t>(count), std::memory_order_relaxed);
  }
  return count;
}

}  // namespace rowbank
