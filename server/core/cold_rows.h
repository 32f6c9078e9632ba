// Which evicted rows of a table its cold store has, and what is still to be written there.
//
// The store is elsewhere (in Redis) and takes rows in slots that are filled one after the other, round a ring. Here is
// what has to be known of it in RAM: of each cold row its slot and its stamp, the position of its eviction, by which a
// copy that is older than that shows; the rows that were evicted and wait to be written; and what is to be deleted
// there, because its key has a row again or was removed.
//
// Until everything that the store has was listed (`finish_listing`), a key that is not known here may be cold, and keys
// that certainly are not are remembered as gone. A process that follows an owner is in this state all the time, and
// keeps only what happened since the owner's last write-back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

#include "row_table.h"

namespace rowbank {

// Where a cold row is.
namespace cold {
inline constexpr std::uint8_t kSlots = 8;
inline constexpr std::uint8_t kSomeSlot = 8;  // Nobody knows which.
inline constexpr std::uint8_t kWaiting = 9;   // In RAM, not written yet.
inline constexpr std::uint8_t kGone = 10;     // Nowhere, whatever the store has.
}  // namespace cold

// Keys with a stamp and a place each; open addressing, at most two thirds full. Not thread-safe.
class ColdMap {
 public:
  struct Entry {
    std::int64_t key = 0;
    std::uint64_t stamp = 0;
    std::uint8_t place = kEmpty;
  };

  ColdMap();
  std::size_t size() const { return size_; }
  std::size_t bytes() const { return entries_.size() * sizeof(Entry); }
  Entry* find(std::int64_t key);
  void put(std::int64_t key, std::uint64_t stamp, std::uint8_t place);
  void erase(std::int64_t key);
  void clear();
  template <typename Visit>
  void for_each(Visit visit) {
    for (Entry& entry : entries_) {
      if (entry.place != kEmpty) {
        visit(entry);
      }
    }
  }
  // Erases the entries for which drop(entry) holds.
  template <typename Drop>
  void erase_where(Drop drop) {
    std::vector<std::int64_t> keys;
    for_each([&](Entry& entry) {
      if (drop(entry)) {
        keys.push_back(entry.key);
      }
    });
    for (const std::int64_t key : keys) {
      erase(key);
    }
  }

 private:
  static constexpr std::uint8_t kEmpty = 255;
  std::size_t home(std::int64_t key) const;
  void grow();

  std::vector<Entry> entries_;
  std::size_t size_ = 0;
};

struct ColdFound {
  std::vector<std::int64_t> at;  // Places in the keys that were asked for; each key once.
  std::vector<std::uint64_t> stamps;
  std::vector<std::uint8_t> places;
};
struct ColdDeletes {
  std::vector<std::int64_t> keys;
  std::vector<std::uint8_t> slots;  // kSomeSlot: of all.
};
struct ColdWaiting {
  std::vector<std::int64_t> keys;
  std::vector<std::uint64_t> stamps;
  std::vector<char> fields;  // Per key the stamp, little-endian, and the packed row.
};
struct ColdCounts {
  std::uint64_t slots[cold::kSlots + 1] = {};  // Written rows by slot; last those in some slot.
  std::uint64_t waiting = 0;
  std::uint64_t map_bytes = 0;
};

// Thread-safe.
class ColdRows {
 public:
  // Rows wait in at most `max_waiting_bytes`.
  ColdRows(std::size_t row_bytes, std::size_t max_waiting_bytes)
      : row_bytes_(row_bytes), max_waiting_(max_waiting_bytes / (row_bytes + kOverhead)) {}

  std::size_t row_bytes() const { return row_bytes_; }

  // Rows were evicted; returns how many of them wait now. The others are forgotten.
  std::uint64_t evicted(KeySpan keys, const char* packed, std::uint64_t stamp);
  // Rows were evicted by another process, which may have written them.
  void evicted_elsewhere(KeySpan keys, std::uint64_t stamp);
  // These keys have rows, or were removed: returns how many of them were known to be cold.
  std::uint64_t forget(KeySpan keys);
  // Nothing is cold; returns how many rows were. `listed`: nor will the store have anything, once it is emptied.
  std::uint64_t clear(bool listed);

  // Which of `keys` are or may be cold.
  ColdFound find(KeySpan keys);
  // The packed row of a waiting key; empty: it does not wait.
  std::vector<char> waiting_row(std::int64_t key);
  // Which of `keys` are cold with these stamps; flags of 0 and 1.
  void hold(KeySpan keys, const std::uint64_t* stamps, std::uint8_t* held);
  // The store has that key with this stamp in this slot. False: it is not to be believed.
  bool confirm(std::int64_t key, std::uint64_t stamp, std::uint8_t slot);
  // The store has not got these keys where they may have been; returns how many of them were known to be cold.
  // Those that were evicted again since they were found with these stamps are left alone.
  std::uint64_t lost(KeySpan keys, const std::uint64_t* stamps);

  // Which listing is under way; one that began before a `clear` is not taken any more.
  std::uint64_t listing();
  bool listed();
  // The store has these keys, of which none has a row, in that slot.
  void list(KeySpan keys, std::uint8_t slot, std::uint64_t listing);
  // The same of keys that have rows: these copies are to be deleted.
  void list_stale(KeySpan keys, std::uint8_t slot);
  void finish_listing(std::uint64_t listing);

  // What the store is not to have any more; copies that were written since are left out.
  ColdDeletes take_deletes();
  // Up to `limit` waiting rows, which go on waiting, from the oldest.
  ColdWaiting waiting(std::size_t limit);
  // What waits with these stamps was in the store already, like this.
  void correct(KeySpan keys, const std::uint64_t* stamps, const char* packed);
  // Those of them that still wait are in that slot now.
  void written(KeySpan keys, const std::uint64_t* stamps, std::uint8_t slot);
  // The slot is emptied: returns how many rows were in it.
  std::uint64_t drop_slot(std::uint8_t slot);

  // A write-back is over (`settle`), or what it did has to be done again (`unsettle`). Of one that another process
  // does, what it will have done is put aside when it begins.
  void put_aside();
  void settle();
  void unsettle();

  ColdCounts counts();

 private:
  static constexpr std::size_t kOverhead = 64;  // Of a waiting row.

  void forget_waiting(ColdMap::Entry& entry);
  void delete_later(std::int64_t key, std::uint8_t slot);

  const std::size_t row_bytes_;
  const std::size_t max_waiting_;
  std::mutex mutex_;
  ColdMap map_;
  ColdMap aside_;
  std::unordered_map<std::int64_t, std::unique_ptr<char[]>> rows_;  // Those that wait.
  std::deque<std::pair<std::int64_t, std::uint64_t>> order_;        // Keys and stamps; some of them wait no more.
  ColdDeletes deletes_;
  ColdDeletes under_way_;  // Carried out, or put aside, but not settled.
  bool listed_ = false;
  std::uint64_t listing_ = 0;
};

}  // namespace rowbank
