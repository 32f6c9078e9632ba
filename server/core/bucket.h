// A table's bucket: the rows of the keys that hash to it, under one lock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <shared_mutex>
#include <unordered_map>
#include <vector>

#include "arena.h"
#include "hash.h"
#include "key_index.h"
#include "row.h"
#include "sketch.h"

namespace rowbank {

// Methods do not lock: callers hold `mutex` shared for const methods and exclusively for the others. A thread that
// needs several buckets locks them in ascending order of their numbers.
class alignas(64) Bucket {
 public:
  struct FrozenRow {
    RowHeader header{};
    std::unique_ptr<char[]> row;  // Null: there was none.
  };
  // By hash, for rows that changed since.
  using FrozenRows = std::unordered_map<std::uint64_t, FrozenRow>;

  std::shared_mutex& mutex() const { return mutex_; }

  // Must be called once, before anything else.
  void attach(Arena* arena) { arena_ = arena; }

  std::size_t size() const { return index_.size(); }
  // Bytes beside the rows: index, dirty keys, what is remembered of absent keys.
  std::uint64_t side_bytes() const;
  const KeyIndex& index() const { return index_; }

  char* row(RowRef ref) const { return arena_->row(ref); }
  RowHeader& header(RowRef ref) const { return arena_->header(ref); }

  RowRef find(std::uint64_t hash) const { return index_.find(hash); }

  // Rows and vacant places among them.
  std::size_t places() const { return capacity_ - unused_count_; }
  // Calls visit(ref, header) for every row and every vacant place, in the order of memory. Runs are short, and the
  // CPU's own prefetcher starts anew at each page of each.
  template <typename Visit>
  void for_each_place(Visit visit) const {
    constexpr std::uint32_t kAhead = 64;
    for (std::size_t i = 0; i < runs_.size(); ++i) {
      const Run run = runs_[i];
      const RowHeader* headers = &header(run.first);
      const RowHeader* following = i + 1 < runs_.size() ? &header(runs_[i + 1].first) : headers;
      const std::uint32_t used = i + 1 == runs_.size() ? run.rows() - unused_count_ : run.rows();
      for (std::uint32_t place = 0; place < used; ++place) {
        const std::uint32_t ahead = place + kAhead;
        __builtin_prefetch(ahead < used ? headers + ahead : following + (ahead - used) % kAhead);
        visit(run.first + place, headers[place]);
      }
    }
  }
  template <typename Visit>
  void for_each_row(Visit visit) const {
    for_each_place([&visit](RowRef ref, const RowHeader& header) {
      if (!header.vacant()) {
        visit(ref, header);
      }
    });
  }

  // Adds a row for an absent key. Its header holds the hash and zeros; values and slots are the caller's to fill.
  RowRef insert(std::uint64_t hash);

  // Makes the index large enough for that many rows at once.
  void reserve(std::size_t rows) {
    if (rows > index_.room()) {
      grow_index(rows);
    }
  }

  // Removes the row and remembers its key as dirty.
  void erase(RowRef ref);

  // Forgets all rows and all dirty keys and returns the memory.
  void clear();

  // Gathers the rows into new runs when most of the bucket's memory is free, and shrinks the index. Row names change.
  void compact_if_sparse();

  void mark_dirty(RowHeader& header) {
    if (!header.dirty()) {
      remember_dirty(header.key());
      header.position_and_flags |= RowHeader::kDirty;
    }
  }
  // Also for keys without a row: they are reported as removed.
  void remember_dirty(std::int64_t key);

  // Counts occurrences of a key without a row and returns the estimate of all of them; see AdmissionSketch.
  std::uint32_t count_absent(std::uint64_t hash, std::uint32_t occurrences, std::size_t window);
  // That estimate as it is.
  std::uint32_t seen_absent(std::uint64_t hash) const { return sketch_ == nullptr ? 0 : sketch_->estimate(hash); }
  // Remembers that eviction took the key, so that take_regret can tell when it is missed.
  void note_evicted(std::uint64_t hash, std::uint32_t now);
  bool take_regret(std::uint64_t hash, std::uint32_t now, std::uint32_t window_s) {
    return evicted_ != nullptr && evicted_->take(hash, now, window_s);
  }

  // Between freeze and thaw every row is kept as it was at freeze. Whoever changes, adds or removes a row calls
  // `preserve` first; only the first call for a key copies.
  void freeze() { frozen_ = std::make_unique<FrozenRows>(); }
  // Returns the copies that were kept, which are better freed without the lock.
  std::unique_ptr<FrozenRows> thaw() { return std::move(frozen_); }
  bool frozen() const { return frozen_ != nullptr; }
  void preserve(std::uint64_t hash, RowRef ref) {
    if (frozen_ != nullptr) {
      copy_frozen(hash, ref);
    }
  }
  // Calls visit(header, row) for every row that there was at freeze. REQUIRES: frozen().
  template <typename Visit>
  void for_each_frozen(Visit visit) const {
    for_each_row([&](RowRef ref, const RowHeader& header) {
      if (frozen_->find(header.hash) == frozen_->end()) {
        visit(header, static_cast<const char*>(row(ref)));
      }
    });
    for (const auto& [hash, copy] : *frozen_) {
      if (copy.row != nullptr) {
        visit(copy.header, static_cast<const char*>(copy.row.get()));
      }
    }
  }

  // The same for the row of that hash, if there was one.
  template <typename Visit>
  void visit_frozen(std::uint64_t hash, Visit visit) const {
    if (const auto copy = frozen_->find(hash); copy != frozen_->end()) {
      if (copy->second.row != nullptr) {
        visit(copy->second.header, static_cast<const char*>(copy->second.row.get()));
      }
    } else if (const RowRef ref = find(hash); ref != kNoRow) {
      visit(header(ref), static_cast<const char*>(row(ref)));
    }
  }

  // Takes up to `limit` dirty keys, oldest first. A key can occur twice, also across calls; the row's own flag decides.
  std::vector<std::int64_t> take_dirty_keys(std::size_t limit);
  std::size_t dirty_keys() const { return dirty_.size() - dirty_taken_; }

 private:
  void copy_frozen(std::uint64_t hash, RowRef ref);
  RowRef take_row();
  void grow_index(std::size_t entries);
  void release_runs();

  mutable std::shared_mutex mutex_;
  Arena* arena_ = nullptr;
  KeyIndex index_;
  std::vector<Run> runs_;
  std::uint64_t capacity_ = 0;  // Rows in runs_.
  RowRef unused_ = 0;           // Next row of the last run that was never used.
  std::uint32_t unused_count_ = 0;
  RowRef free_ = kNoRow;  // Rows that were used and removed, linked through the hashes of their headers.
  std::vector<std::int64_t> dirty_;
  std::size_t dirty_taken_ = 0;              // Front part of dirty_ that was taken already.
  std::unique_ptr<AdmissionSketch> sketch_;  // Made when first needed, like evicted_.
  std::unique_ptr<RecentlyEvicted> evicted_;
  std::unique_ptr<FrozenRows> frozen_;
};

}  // namespace rowbank
