// RowTable::visit, shared by the files that implement RowTable.
#pragma once

#include <array>
#include <mutex>
#include <shared_mutex>
#include <type_traits>
#include <utility>

#include "row_table.h"

namespace rowbank {

// What the request gives for each key, in the order of its keys: read in the order of the visit, which is another.
struct Given {
  const void* rows = nullptr;  // Null: nothing.
  std::size_t row_bytes = 0;
  const Distinct* distinct = nullptr;  // Whose keys are visited; null: those of the request.

  const char* of(std::uint32_t place) const {
    return static_cast<const char*>(rows) + (distinct == nullptr ? place : distinct->first(place)) * row_bytes;
  }
};

// What a visit touches for each key, to be asked for ahead of time.
struct Touched {
  std::size_t row_bytes = 0;  // From the row's front.
  bool header = true;
  Given given = {};

  // How many keys ahead of the one in hand a row is asked for: fewer of long ones, which else fill the cache.
  std::size_t rows_ahead() const { return row_bytes + given.row_bytes <= kFewBytes ? kMostRowsAhead : 4; }
  // Whether what is read of the rows ahead has room in the first cache; else, and for writes, the second measured
  // faster, probably since a core can have more reads of that one under way at a time.
  bool is_short() const { return row_bytes <= kShortBytes; }

  static constexpr std::size_t kFewBytes = 8192;
  static constexpr std::size_t kShortBytes = 256;
  static constexpr std::size_t kMostRowsAhead = 8;
};

// How many keys ahead of the one whose row is asked for the index is.
inline constexpr std::size_t kIndexAhead = 16;
inline constexpr std::size_t kVisitStep = 4;

// The keys between the first that was looked at and the last that was dealt with, and the locks of their buckets, taken
// in ascending order and released in the same order.
template <typename Lock>
class VisitWindow {
 public:
  struct Entry {
    Bucket* bucket;
    RowRef ref;
  };

  Entry& operator[](std::size_t key) { return entries_[key % kKeys]; }

  void enter(std::size_t key, Bucket& bucket) {
    (*this)[key] = {&bucket, kNoRow};
    if (&bucket != newest_) {
      locks_[locked_++ % kKeys] = Lock(bucket.mutex());
      newest_ = &bucket;
    }
  }
  // The next key to be dealt with lies in another bucket, or there is none.
  void leave_bucket() { locks_[unlocked_++ % kKeys].unlock(); }

 private:
  static constexpr std::size_t kKeys = 32;
  static_assert(kIndexAhead + Touched::kMostRowsAhead + kVisitStep <= kKeys);

  std::array<Entry, kKeys> entries_;
  std::array<Lock, kKeys> locks_;
  std::size_t locked_ = 0;
  std::size_t unlocked_ = 0;
  const Bucket* newest_ = nullptr;
};

// Into a cache, which is the last argument of __builtin_prefetch. Always inline, because GCC holds a function that only
// prefetches to be without effect and drops calls of it.
inline constexpr int kFirstCache = 3;
inline constexpr int kSecondCache = 2;
template <int Cache>
[[gnu::always_inline]] inline void prefetch_lines(const void* begin, std::size_t bytes) {
  constexpr std::uintptr_t kLine = 64;
  const auto end = reinterpret_cast<std::uintptr_t>(begin) + bytes;
  constexpr int kToRead = 0;
  for (std::uintptr_t line = reinterpret_cast<std::uintptr_t>(begin) / kLine * kLine; line < end; line += kLine) {
    __builtin_prefetch(reinterpret_cast<const void*>(line), kToRead, Cache);
  }
}

// Problem: a random row costs two far reads, one after the other (the index's line, then the row, and for writes its
// header), and a far read costs as much as hundreds of instructions. Idea: three stages walk over the batch one behind
// the other; the first asks for the index's line of a key, the second looks the key up and asks for its row, the third
// acts. So dozens of reads are under way at any time. The keys come sorted by bucket: each bucket is locked once, when
// the first stage reaches it, until the third has dealt with its last key. Nobody sees a row, and write-back never
// packs one, of which some of a repeated key's occurrences were applied and others not. Everybody takes locks in
// ascending order, so nobody waits in a circle.
template <typename Lock, typename Act>
void RowTable::visit(const Batch& batch, Touched touched, Act act) const {
  constexpr bool kWrites = std::is_same_v<Lock, std::unique_lock<std::shared_mutex>>;
  VisitWindow<Lock> window;
  const auto each = [&batch](std::size_t step, std::size_t behind, auto stage) {
    if (step >= behind) {
      const std::size_t end = std::min(step - behind + kVisitStep, batch.size());
      for (std::size_t i = step - behind; i < end; ++i) {
        stage(i);
      }
    }
  };
  const std::size_t in_all = kIndexAhead + touched.rows_ahead();
  const bool into_first = !kWrites && touched.is_short();
  for (std::size_t step = 0; step < batch.size() + in_all; step += kVisitStep) {
    each(step, 0, [&](std::size_t i) {
      const std::uint64_t hash = batch.hash(batch.at(i));
      Bucket& bucket = bucket_of(hash);
      window.enter(i, bucket);
      bucket.index().prefetch(hash);
    });
    each(step, kIndexAhead, [&](std::size_t i) {
      auto& [bucket, ref] = window[i];
      ref = bucket->find(batch.hash(batch.at(i)));
      if (ref != kNoRow) {
        if (touched.header) {
          prefetch_lines<kSecondCache>(&bucket->header(ref), sizeof(RowHeader));
        }
        if (into_first) {
          prefetch_lines<kFirstCache>(bucket->row(ref), touched.row_bytes);
        } else {
          prefetch_lines<kSecondCache>(bucket->row(ref), touched.row_bytes);
        }
      }
      if (touched.given.rows != nullptr) {
        prefetch_lines<kSecondCache>(touched.given.of(batch.at(i)), touched.given.row_bytes);
      }
    });
    each(step, in_all, [&](std::size_t i) {
      const std::uint32_t place = batch.at(i);
      const std::uint64_t hash = batch.hash(place);
      auto [bucket, ref] = window[i];
      if constexpr (kWrites) {
        // What was found stays where it is (`remove` looks for itself); what was not may have been added meanwhile.
        ref = ref != kNoRow ? ref : bucket->find(hash);
        bucket->preserve(hash, ref);
      }
      act(*bucket, place, hash, ref);
      if (i + 1 == batch.size() || window[i + 1].bucket != bucket) {
        window.leave_bucket();
      }
    });
  }
}

using SharedLock = std::shared_lock<std::shared_mutex>;
using UniqueLock = std::unique_lock<std::shared_mutex>;

}  // namespace rowbank
