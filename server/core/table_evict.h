// What the evicting parts of RowTable share: the order of rows, and taking rows out of a bucket.
#pragma once

#include <vector>

#include "pages.h"
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

  bool operator<(const Rank& other) const {
    // Without a branch: of many rows at a cut, which side one is on cannot be predicted.
    const auto below = static_cast<unsigned>(standing < other.standing);
    const auto equal = static_cast<unsigned>(standing == other.standing);
    return (below | (equal & static_cast<unsigned>(lot < other.lot))) != 0;
  }
};

// A header may lie across two cache lines. Always inline, because GCC holds a function that only prefetches to be
// without effect and drops calls of it.
[[gnu::always_inline]] inline void prefetch_header(const char* row) {
  __builtin_prefetch(row);
  __builtin_prefetch(row + sizeof(RowHeader) - 1);
}

// Calls visit(header) for those rows of the bucket, in order.
template <typename Visit>
void for_each_header(const Bucket& bucket, const std::vector<RowRef>& refs, Visit visit) {
  constexpr std::size_t kAhead = 64;
  for (std::size_t i = 0; i < std::min(kAhead, refs.size()); ++i) {
    prefetch_header(bucket.row(refs[i]));
  }
  for (std::size_t i = 0; i < refs.size(); ++i) {
    if (i + kAhead < refs.size()) {
      prefetch_header(bucket.row(refs[i + kAhead]));
    }
    visit(RowLayout::header(static_cast<const char*>(bucket.row(refs[i]))));
  }
}

// Rows in columns. They name keys by their hashes, of which lots are made without the keys.
struct RowTable::Standings {
  HugeVector<std::uint64_t> standing;
  HugeVector<std::uint64_t> hashes;

  std::size_t size() const { return hashes.size(); }
  Rank rank(std::size_t i) const { return {standing[i], Rank::lot_of(hashes[i])}; }
  // The rank of the row that is n-th from below, counted from 0. REQUIRES: n < size().
  Rank nth(std::size_t n) const;
};

// Misses overlap as in RowTable::visit.
template <typename Doomed>
std::uint64_t RowTable::evict_hashes(Bucket& bucket, const std::vector<std::uint64_t>& hashes, std::uint32_t now,
                                     Doomed doomed, std::vector<std::int64_t>& gone) {
  if (hashes.empty()) {
    return 0;
  }
  std::uint64_t evicted = 0;
  const UniqueLock lock(bucket.mutex());
  for (std::size_t begin = 0; begin < hashes.size(); begin += kVisitGroup) {
    const std::size_t end = std::min(begin + kVisitGroup, hashes.size());
    for (std::size_t i = begin; i < end; ++i) {
      bucket.index().prefetch(hashes[i]);
    }
    for (std::size_t i = begin; i < end; ++i) {
      const RowRef ref = bucket.index().candidate(hashes[i]);
      if (ref != kNoRow) {
        prefetch_header(bucket.row(ref));
      }
    }
    for (std::size_t i = begin; i < end; ++i) {
      const std::int64_t key = key_of_hash(hashes[i]);
      const RowRef ref = bucket.find(hashes[i], key);
      if (ref != kNoRow && doomed(RowLayout::header(bucket.row(ref)))) {
        bucket.preserve(key, ref);
        bucket.erase(hashes[i], ref);
        bucket.note_evicted(hashes[i], now);
        gone.push_back(key);
        ++evicted;
      }
    }
  }
  bucket.compact_if_sparse();
  rows_.fetch_sub(static_cast<std::int64_t>(evicted), std::memory_order_relaxed);
  return evicted;
}

// Problem: choosing reads all of a bucket's metadata, and readers must not wait for that. Idea: choose under the shared
// lock, then take the exclusive lock only to erase, looking every chosen key up again: one that was used in between, or
// is gone, no longer satisfies `doomed` and stays.
template <typename Doomed>
std::uint64_t RowTable::evict_where(Bucket& bucket, std::uint64_t limit, std::uint32_t now, Doomed doomed,
                                    std::vector<std::int64_t>& gone) {
  std::vector<std::uint64_t> chosen;
  {
    const SharedLock lock(bucket.mutex());
    std::vector<RowRef> refs;
    bucket.index().list(refs);
    for_each_header(bucket, refs, [&](const RowHeader& header) {
      if (chosen.size() < limit && doomed(header)) {
        chosen.push_back(hash_key(header.key));
      }
    });
  }
  return evict_hashes(bucket, chosen, now, doomed, gone);
}

}  // namespace rowbank
