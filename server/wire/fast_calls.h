// What calls share that are answered without the interpreter.
//
// Problem: of what a call costs beside its rows most is the interpreter, and its lock, which all callers share. Idea: a
// request that is plain in every respect is answered here; whatever is not, is left to the handlers in Python, which
// know all rules. So there is one place for errors and limits, and it is not here.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "call.h"
#include "mutation_lock.h"
#include "row_table.h"
#include "step_counter.h"

namespace rowbank::wire {

struct FastTable {
  RowTable* rows = nullptr;
  StepCounter* steps = nullptr;  // Null: rows are read, but not pushed.
  MutationLock* lock = nullptr;
  std::uint32_t table_id = 0;
  bool leaves_record = false;   // Whether the journal has its mutations.
  std::shared_ptr<void> owner;  // Keeps what the pointers point at.
  bool owns_all = true;  // Whether this shard has all of its buckets, else those from `first_bucket` to `end_bucket`.
  std::uint32_t first_bucket = 0;
  std::uint32_t end_bucket = 0;
};
// By name.
using FastTables = std::unordered_map<std::string, FastTable>;

// A table of a request.
struct FastPart {
  std::string_view name;
  const FastTable* table = nullptr;
  std::vector<std::int64_t> keys;

  std::size_t dim() const { return table->rows->options().dim; }
};

// Takes in the keys of one; false: they are not for here.
bool find_part(const FastTables& tables, std::string_view name, std::string_view keys, std::size_t max_keys,
               FastPart* part);

// As DataType numbers them on the wire.
std::optional<DType> dtype_of(std::uint64_t wire_dtype);
std::uint32_t now_s();
// Whether what the caller sent along changes nothing, and it still waits.
bool is_plain(const Call& call, std::int64_t now_ns);
Answer message_of(std::shared_ptr<char> block, std::size_t size);

// The tables of the moment, of which nobody has to hold a lock. Thread-safe.
class FastCatalog {
 public:
  void set(FastTables tables);
  std::shared_ptr<const FastTables> tables() const;

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const FastTables> tables_ = std::make_shared<const FastTables>();
};

// Lets a few calls in at the same time, and none while it is closed. Thread-safe.
class FastDoor {
 public:
  explicit FastDoor(int most_at_once) : most_at_once_(most_at_once) {}

  void open() { open_.store(true); }
  // Once it returns, nobody is inside.
  void close();

  class Visit {
   public:
    // Counted first and then looked at, as `close` does it the other way round.
    explicit Visit(FastDoor* door)
        : door_(door), inside_(door->inside_.fetch_add(1) < door->most_at_once_ && door->open_.load()) {}
    ~Visit() { door_->inside_.fetch_sub(1); }
    Visit(const Visit&) = delete;
    Visit& operator=(const Visit&) = delete;
    bool inside() const { return inside_; }

   private:
    FastDoor* const door_;
    const bool inside_;
  };

 private:
  const int most_at_once_;
  std::atomic<bool> open_{false};
  std::atomic<int> inside_{0};
};

// How long answers of one method took: requests up to each bound, and beyond.
struct FastTimes {
  static constexpr std::size_t kMostBounds = 32;
  std::array<std::atomic<std::uint64_t>, kMostBounds + 1> counts{};
  std::atomic<std::uint64_t> total_ns{0};

  void note(const std::vector<double>& bounds_s, std::int64_t elapsed_ns);
};

}  // namespace rowbank::wire
