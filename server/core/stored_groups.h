// Which entries the journal's stream holds: what may be deleted, and what can still be read.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

namespace rowbank {

// The entries of one stream, oldest first. Callers hold one lock.
class StoredGroups {
 public:
  bool empty() const { return groups_.empty(); }
  // Of records.
  std::uint64_t bytes() const { return bytes_; }
  std::uint64_t records() const { return records_; }
  // Every record above this position is in the stream, or will be.
  std::uint64_t gone_through() const { return gone_through_; }

  // A new stream, which may lack records up to `position`.
  void restart(std::uint64_t position) {
    groups_.clear();
    bytes_ = records_ = 0;
    gone_through_ = position;
  }
  // An entry was appended: the number in its id, its highest position, the bytes of its records and how many they are.
  void add(std::uint64_t number, std::uint64_t highest, std::uint64_t size, std::uint64_t records) {
    groups_.push_back({number, highest, size, records});
    bytes_ += size;
    records_ += records;
  }
  // Whether the oldest entry holds nothing above `position`.
  bool has_done(std::uint64_t position) const { return !groups_.empty() && groups_.front().highest <= position; }
  // The number of the last of the oldest entries that hold nothing above `position`, of as many as have `most_bytes`,
  // or one; 0: there is none.
  std::uint64_t passed(std::uint64_t position, std::uint64_t most_bytes) const {
    std::uint64_t number = 0;
    std::uint64_t size = 0;
    for (const Group& group : groups_) {
      size += group.size;
      if (group.highest > position || (number != 0 && size > most_bytes)) {
        break;
      }
      number = group.number;
    }
    return number;
  }
  // Entries up to `number` were deleted.
  void forget(std::uint64_t number) {
    while (!groups_.empty() && groups_.front().number <= number) {
      bytes_ -= groups_.front().size;
      records_ -= groups_.front().records;
      gone_through_ = std::max(gone_through_, groups_.front().highest);
      groups_.pop_front();
    }
  }
  // The number of the first entry that may have records above `position`.
  std::optional<std::uint64_t> first_after(std::uint64_t position) const {
    const auto found =
        std::find_if(groups_.begin(), groups_.end(), [&](const Group& group) { return group.highest > position; });
    return found == groups_.end() ? std::nullopt : std::optional(found->number);
  }

 private:
  struct Group {
    std::uint64_t number;
    std::uint64_t highest;
    std::uint64_t size;
    std::uint64_t records;
  };
  std::deque<Group> groups_;
  std::uint64_t bytes_ = 0;
  std::uint64_t records_ = 0;
  std::uint64_t gone_through_ = 0;
};

}  // namespace rowbank
