// Reads of rows that nothing speaks against, without the interpreter.
//
// Problem: of what a read costs beside its rows most is the interpreter, and its lock, which all callers share. Idea: a
// request that is plain in every respect is answered here; whatever is not, is left to the handlers in Python, which
// know all rules. So there is one place for errors and limits, and it is not here.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "blocks.h"
#include "call.h"
#include "row_table.h"

namespace rowbank::wire {

struct FastTable {
  RowTable* rows = nullptr;
  std::shared_ptr<void> owner;  // Keeps `rows`.
  bool owns_all = true;  // Whether this shard has all of its buckets, else those from `first_bucket` to `end_bucket`.
  std::uint32_t first_bucket = 0;
  std::uint32_t end_bucket = 0;
};
// By name.
using FastTables = std::unordered_map<std::string, FastTable>;

// How long answers of one method took: requests up to each bound, and beyond.
struct FastTimes {
  static constexpr std::size_t kMostBounds = 32;
  std::array<std::atomic<std::uint64_t>, kMostBounds + 1> counts{};
  std::atomic<std::uint64_t> total_ns{0};
};

enum class FastMethod : std::size_t { kPull, kLookup, kNone };

// Thread-safe.
class FastReads {
 public:
  // `bounds_s`: of the histogram. `most_at_once`: more than so many reads at the same time go the other way.
  FastReads(std::vector<double> bounds_s, std::size_t max_keys, int most_at_once);

  void set_tables(FastTables tables);
  // Nothing is answered until it is open; once `close` returns, nothing is under way.
  void open() { open_.store(true); }
  void close();

  // The answer; nothing: the request is not for here.
  std::optional<Answer> answer(FastMethod method, const Call& call);
  const FastTimes& times(FastMethod method) const { return times_[static_cast<std::size_t>(method)]; }
  const std::vector<double>& bounds_s() const { return bounds_s_; }

 private:
  struct Part;
  std::optional<Answer> pull(std::string_view body);
  std::optional<Answer> lookup(std::string_view body);
  bool find(const FastTables& tables, std::string_view name, std::string_view keys, Part* part) const;
  void note(FastMethod method, std::int64_t elapsed_ns);
  std::shared_ptr<const FastTables> tables() const;

  const std::vector<double> bounds_s_;
  const std::size_t max_keys_;
  const int most_at_once_;
  std::atomic<bool> open_{false};
  std::atomic<int> inside_{0};
  mutable std::mutex mutex_;
  std::shared_ptr<const FastTables> tables_;
  std::array<FastTimes, 2> times_;
  Blocks blocks_;
};

}  // namespace rowbank::wire
