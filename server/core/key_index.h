// Where the rows of one bucket are: an open-addressing map from a key's hash to the name of its row.
//
// Problem: a read waits for memory once per place it touches, and must not touch the row's header only to learn whether
// the row is that of its key; any int64 must be a valid key; removals must not leave tombstones that slow later
// lookups. Idea: hashes are kept whole, beside the names of the rows, so what a lookup finds is the key's row and no
// other. A group is exactly one 64-byte line: 5 hashes, 5 names (kNoRow: free), and a count of entries that wanted this
// group or passed through it and found it full. A lookup compares all hashes at once and goes to the next group only
// while that count is not zero; erasing lowers the counts that inserting raised. With 3 entries a group about one
// entry in 20 is not at home. Positions use the low 32 bits of the hash, because the high bits chose the bucket. Limit:
// 21 to 32 bytes an entry; twelve one-byte tags and names a line take a third of that, but cost a look at the header.
// Not thread-safe: const functions may run together, others alone.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

#include "arena.h"

namespace rowbank {

class KeyIndex {
 public:
  static constexpr std::size_t kGroupSlots = 5;
  static constexpr std::size_t kFillPerGroup = 3;  // Grow when there are more entries than this per group.

  KeyIndex() = default;
  KeyIndex(KeyIndex&& other) noexcept
      : groups_(std::exchange(other.groups_, nullptr)),
        group_count_(std::exchange(other.group_count_, 0)),
        size_(std::exchange(other.size_, 0)) {}
  KeyIndex& operator=(KeyIndex&& other) noexcept {
    std::swap(groups_, other.groups_);
    std::swap(group_count_, other.group_count_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~KeyIndex() { ::operator delete(groups_, std::align_val_t{64}); }

  // An empty index with room for `entries`.
  static KeyIndex with_room_for(std::size_t entries) {
    KeyIndex index;
    index.group_count_ = static_cast<std::uint32_t>(entries / kFillPerGroup + 1);
    const std::size_t bytes = index.group_count_ * sizeof(Group);
    index.groups_ = static_cast<Group*>(::operator new(bytes, std::align_val_t{64}));
    std::fill_n(index.groups_, index.group_count_, Group());
    return index;
  }

  std::size_t size() const { return size_; }
  std::size_t bytes() const { return group_count_ * sizeof(Group); }
  std::size_t room() const { return group_count_ * kFillPerGroup; }
  bool full() const { return size_ >= room(); }

  void prefetch(std::uint64_t hash) const {
    if (group_count_ != 0) {
      __builtin_prefetch(&groups_[home(hash)]);
    }
  }

  // The row of the key with that hash, or kNoRow.
  RowRef find(std::uint64_t hash) const {
    if (group_count_ == 0) {
      return kNoRow;
    }
    std::uint32_t at = home(hash);
    for (std::uint32_t probes = 0; probes < group_count_; ++probes) {
      const Group& group = groups_[at];
      const RowRef ref = group.find(hash);
      if (ref != kNoRow || group.overflow == 0) {
        return ref;
      }
      at = next(at);
    }
    return kNoRow;
  }

  // REQUIRES: !full(), and the key is absent.
  void insert(std::uint64_t hash, RowRef ref) {
    std::uint32_t at = home(hash);
    while (!groups_[at].put(hash, ref)) {
      ++groups_[at].overflow;
      at = next(at);
    }
    ++size_;
  }

  // REQUIRES: the entry exists.
  void erase(std::uint64_t hash, RowRef ref) {
    std::uint32_t at = home(hash);
    while (!groups_[at].take_out(ref)) {
      --groups_[at].overflow;
      at = next(at);
    }
    --size_;
  }

  // Calls visit(ref) for every entry. `visit` must not change the index.
  template <typename Visit>
  void for_each(Visit visit) const {
    for_some(0, size_, visit);
  }

  // Like for_each, but only the groups from the one that holds the first-th entry, about `count` entries, going round.
  template <typename Visit>
  void for_some(std::size_t first, std::size_t count, Visit visit) const {
    if (size_ == 0) {
      return;
    }
    auto at = static_cast<std::uint32_t>((first % size_) * group_count_ / size_);
    for (std::uint32_t groups = 0; groups < group_count_ && count > 0; ++groups, at = next(at)) {
      for (std::size_t slot = 0; slot < kGroupSlots && count > 0; ++slot) {
        if (groups_[at].refs[slot] != kNoRow) {
          visit(groups_[at].refs[slot]);
          --count;
        }
      }
    }
  }

 private:
  struct alignas(64) Group {
    std::uint32_t low[kGroupSlots] = {};  // Of the hashes.
    std::uint32_t high[kGroupSlots] = {};
    RowRef refs[kGroupSlots] = {kNoRow, kNoRow, kNoRow, kNoRow, kNoRow};
    std::uint32_t overflow = 0;

    // Without branches, which could not be predicted. What is left of a hash in a free slot can match, too: it names no
    // row, and kNoRow is the highest name.
    RowRef find(std::uint64_t hash) const {
      const auto wanted_low = static_cast<std::uint32_t>(hash);
      const auto wanted_high = static_cast<std::uint32_t>(hash >> 32);
      RowRef found = kNoRow;
      for (std::size_t slot = 0; slot < kGroupSlots; ++slot) {
        const bool same = ((low[slot] ^ wanted_low) | (high[slot] ^ wanted_high)) == 0;
        found = std::min(found, same ? refs[slot] : kNoRow);
      }
      return found;
    }
    bool put(std::uint64_t hash, RowRef ref) {
      RowRef* const free_slot = std::find(refs, refs + kGroupSlots, kNoRow);
      if (free_slot == refs + kGroupSlots) {
        return false;
      }
      *free_slot = ref;
      low[free_slot - refs] = static_cast<std::uint32_t>(hash);
      high[free_slot - refs] = static_cast<std::uint32_t>(hash >> 32);
      return true;
    }
    bool take_out(RowRef ref) {
      RowRef* const slot = std::find(refs, refs + kGroupSlots, ref);
      if (slot == refs + kGroupSlots) {
        return false;
      }
      *slot = kNoRow;
      return true;
    }
  };
  static_assert(sizeof(Group) == 64);

  std::uint32_t home(std::uint64_t hash) const {
    return static_cast<std::uint32_t>(((hash & 0xFFFFFFFFU) * group_count_) >> 32);
  }
  std::uint32_t next(std::uint32_t at) const { return at + 1 == group_count_ ? 0 : at + 1; }

  Group* groups_ = nullptr;
  std::uint32_t group_count_ = 0;
  std::size_t size_ = 0;
};

}  // namespace rowbank
