// Rows that a client keeps of one table, to answer reads that may be some steps old. No Python here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace rowbank::client {

struct NearCounts {
  std::uint64_t rows = 0;         // Held now.
  std::uint64_t capacity = 0;     // Rows that there is room for.
  std::uint64_t bytes = 0;        // Of all that room, whether it is used or not.
  std::uint64_t hits = 0;         // Rows answered from here.
  std::uint64_t misses = 0;       // Rows that had to be asked for.
  std::uint64_t evicted = 0;      // Rows that went for others.
  std::uint64_t invalidated = 0;  // Rows that went because they were written.
  std::uint64_t applied = 0;      // Rows that a gradient was applied to.
};

// Problem: a row may be used for some steps after it was read, but never be older than the caller's own writes, while
// reads and writes of several threads overlap. Idea: a write says when it begins and when it ends; the rows of reads
// that were under way at any moment between are not kept where the write touched their keys. Rows leave by CLOCK: one
// hand, a mark per row that was used again; those that are too old to be used are taken like unmarked ones.
// Limit: one mutex per table; a batch holds it for microseconds.
//
// A step is a read and the write that follows it; every further read or write is a step of its own.
class NearCache {
 public:
  // Room for as many rows of `dim` as `bytes` hold, with all that is kept beside them; none where that is none.
  NearCache(std::size_t dim, std::size_t bytes, std::uint64_t max_staleness_steps);

  // Copies what may be used of the distinct keys [count] into rows [count, dim] and status [count]; writes the places
  // of the others into missing [count]. Returns their number, and the token for `fill`, 0 if there are none.
  std::size_t read(const std::int64_t* keys, std::size_t count, float* rows, std::uint8_t* status,
                   std::int64_t* missing, std::uint64_t* token);

  // Ends a read: keeps the rows at `places` [place_count], as far as no write overlapped. None: the read failed.
  void fill(std::uint64_t token, const std::int64_t* keys, const float* rows, const std::uint8_t* status,
            const std::int64_t* places, std::size_t place_count);

  // A write of keys [count], or of whatever there is, begins. Rows that it will not be applied to are dropped now.
  std::uint64_t begin_write(const std::int64_t* keys, std::size_t count, bool all, bool will_apply);

  // It ends. gradients [count, dim]: the rows move as the server's SGD moves them; null: they are dropped.
  void end_write(std::uint64_t token, const float* gradients, float learning_rate);

  NearCounts counts() const;
  std::vector<std::uint64_t> ages() const;  // Hits by age in steps: [max_staleness_steps + 1], the last one: or more.
  std::size_t dim() const { return dim_; }
  std::size_t written(std::uint64_t token) const;  // Keys of a write under way.

 private:
  struct Slot {
    std::int64_t key;
    std::uint64_t step;
    std::uint8_t status;
    bool used;
    bool held;
  };
  struct Written {
    std::vector<std::int64_t> keys;
    bool all = false;
    void add(const Written& other);
  };

  struct Entry {
    std::uint32_t hash;
    std::uint32_t slot;  // 1 more than the slot, 0: none.
  };

  std::size_t find(std::int64_t key, std::uint32_t hash) const;
  void keep(std::int64_t key, const float* row, std::uint8_t status, std::uint64_t step);
  std::uint32_t free_slot();
  Slot& pass();
  bool drop(std::int64_t key);
  void drop_all();
  void grow();
  void fetch_entries(const std::int64_t* keys, std::size_t at, std::size_t count) const;
  void fetch_row(std::uint32_t slot) const;
  bool usable(const Slot& slot) const { return clock_ - slot.step <= max_steps_; }
  struct Read {
    Written written;
    std::uint64_t step = 0;
  };

  mutable std::mutex mutex_;
  const std::size_t dim_;
  const std::uint64_t max_steps_;
  std::uint64_t clock_ = 0;
  bool wrote_ = false;  // Since the last read.
  std::size_t mask_ = 0;
  std::size_t filled_ = 0;  // Slots that were ever used.
  std::size_t hand_ = 0;
  std::vector<Entry> index_;
  std::unique_ptr<Slot[]> slots_;
  std::unique_ptr<float[]> rows_;
  std::vector<std::uint32_t> free_;
  std::vector<std::uint64_t> ages_;
  NearCounts counts_;
  std::uint64_t next_token_ = 1;
  std::unordered_map<std::uint64_t, Read> reads_;
  std::unordered_map<std::uint64_t, Written> writes_;
};

}  // namespace rowbank::client
