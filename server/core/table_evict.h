// What the evicting parts of RowTable share: the order of rows, and taking rows out of a bucket.
#pragma once

#include <limits>
#include <vector>

#include "row_table.h"
#include "table_visit.h"

namespace rowbank {

// A row's place in the order of eviction: the lower standing goes first, then the lower lot. No two keys have the same
// lot, so the order is total: any cut through it keeps an exact number of rows and every run makes the same choice.
struct RowTable::Rank {
  std::uint64_t standing = 0;
  std::uint64_t lot = 0;

  // The score, then last_used. Decayed frequencies count to the precision of the floats that they are stored as.
  static std::uint64_t standing_of(Usage usage, Score score, std::uint32_t now, const FrequencyClock& clock) {
    const std::uint64_t points = score == Score::kFrequency ? clock.aged_bits(usage, now) : usage.last_used;
    return points << 32 | usage.last_used;
  }
  static double score_of(std::uint64_t standing, Score score, const FrequencyClock& clock) {
    const auto points = static_cast<std::uint32_t>(standing >> 32);
    return score == Score::kFrequency ? clock.number_of(points) : points;
  }

  // Rows of equal standing draw lots. The lot must depend on nothing that says where a row is: not on the bucket, or
  // one mass eviction of equal rows would empty some buckets, fill none and make all of those gather their rows; and
  // not on the place in the bucket's index, or a stretch of it would be no random sample any more. The highest bits of
  // this product depend on all bits of the hash, and as the factor is odd, no two hashes have the same product.
  static std::uint64_t lot_of(std::uint64_t hash) { return hash * kGolden; }

  static Rank of(const RowHeader& header, Score score, std::uint32_t now, const FrequencyClock& clock) {
    return {standing_of(header.usage(), score, now, clock), lot_of(header.hash)};
  }
  static Rank highest() {
    return {std::numeric_limits<std::uint64_t>::max(), std::numeric_limits<std::uint64_t>::max()};
  }

  // As one number of 128 bits, without a branch: of many rows at a cut, which side one is on cannot be predicted.
  bool operator<(const Rank& other) const { return number() < other.number(); }

 private:
  unsigned __int128 number() const { return static_cast<unsigned __int128>(standing) << 64 | lot; }
};

// Chooses and erases under one exclusive lock: headers lie in the order of memory, so that choosing takes a nanosecond
// or two a row. Limit: that is a millisecond for a bucket of half a million rows.
template <typename Doomed>
std::uint64_t RowTable::evict_where(Bucket& bucket, std::uint64_t limit, std::uint32_t now, Doomed doomed,
                                    EvictedRows& gone) {
  constexpr std::size_t kAhead = 16;
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
