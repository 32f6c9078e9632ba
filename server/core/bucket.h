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
  std::shared_mutex& mutex() const { return mutex_; }

  // Must be called once, before anything else.
  void attach(Arena* arena) { arena_ = arena; }

  std::size_t size() const { return index_.size(); }
  // Bytes beside the rows: index, dirty keys, what is remembered of absent keys.
  std::uint64_t side_bytes() const;
  const KeyIndex& index() const { return index_; }

  char* row(RowRef ref) const { return arena_->row(ref); }

  RowRef find(std::uint64_t hash, std::int64_t key) const {
    return index_.find(hash, [this, key](RowRef ref) { return RowLayout::header(row(ref)).key == key; });
  }

  // Adds a row for an absent key. Its header holds the key and zeros; values and slots are the caller's to fill.
  RowRef insert(std::uint64_t hash, std::int64_t key);

  // Makes the index large enough for that many rows at once.
  void reserve(std::size_t rows) {
    if (rows > index_.room()) {
      grow_index(rows);
    }
  }

  // Removes the row and remembers its key as dirty.
  void erase(std::uint64_t hash, RowRef ref);

  // Forgets all rows and all dirty keys and returns the memory.
  void clear();

  // Gathers the rows into new runs when most of the bucket's memory is free, and shrinks the index. Row names change.
  void compact_if_sparse();

  void mark_dirty(RowHeader& header) {
    if (!header.dirty()) {
      remember_dirty(header.key);
      header.position_and_dirty |= RowHeader::kDirty;
    }
  }
  // Also for keys without a row: they are reported as removed.
  void remember_dirty(std::int64_t key);

  // Counts occurrences of a key without a row and returns the estimate of all of them; see AdmissionSketch.
  std::uint32_t count_absent(std::uint64_t hash, std::uint32_t occurrences, std::size_t window);
  // Remembers that eviction took the key, so that take_regret can tell when it is missed.
  void note_evicted(std::uint64_t hash, std::uint32_t now);
  bool take_regret(std::uint64_t hash, std::uint32_t now, std::uint32_t window_s) {
    return evicted_ != nullptr && evicted_->take(hash, now, window_s);
  }

  // Between freeze and thaw every row is kept as it was at freeze. Whoever changes, adds or removes a row calls
  // `preserve` first; only the first call for a key copies.
  void freeze() { frozen_ = std::make_unique<FrozenRows>(); }
  void thaw() { frozen_.reset(); }
  bool frozen() const { return frozen_ != nullptr; }
  void preserve(std::int64_t key, RowRef ref) {
    if (frozen_ != nullptr) {
      copy_frozen(key, ref);
    }
  }
  // Calls visit(row) for every row that there was at freeze. REQUIRES: frozen().
  template <typename Visit>
  void for_each_frozen(Visit visit) const {
    index_.for_each([&](RowRef ref) {
      if (frozen_->find(RowLayout::header(row(ref)).key) == frozen_->end()) {
        visit(row(ref));
      }
    });
    for (const auto& [key, copy] : *frozen_) {
      if (copy != nullptr) {
        visit(copy.get());
      }
    }
  }

  // Takes up to `limit` dirty keys, oldest first. A key can occur twice, also across calls; the row's own flag decides.
  std::vector<std::int64_t> take_dirty_keys(std::size_t limit);
  std::size_t dirty_keys() const { return dirty_.size() - dirty_taken_; }

 private:
  // Key -> the row at freeze, for rows that changed since; null: there was none.
  using FrozenRows = std::unordered_map<std::int64_t, std::unique_ptr<char[]>>;

  void copy_frozen(std::int64_t key, RowRef ref);
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
  RowRef free_ = kNoRow;  // Rows that were used and removed, linked through their key fields.
  std::vector<std::int64_t> dirty_;
  std::size_t dirty_taken_ = 0;              // Front part of dirty_ that was taken already.
  std::unique_ptr<AdmissionSketch> sketch_;  // Made when first needed, like evicted_.
  std::unique_ptr<RecentlyEvicted> evicted_;
  std::unique_ptr<FrozenRows> frozen_;
};

}  // namespace rowbank
