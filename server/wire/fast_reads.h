// Reads of rows that nothing speaks against, without the interpreter.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "blocks.h"
#include "fast_calls.h"

namespace rowbank::wire {

enum class FastMethod : std::size_t { kPull, kLookup, kPush, kNone };

// Thread-safe.
class FastReads {
 public:
  // `bounds_s`: of the histogram. `most_at_once`: more than so many reads at the same time go the other way.
  FastReads(std::vector<double> bounds_s, std::size_t max_keys, int most_at_once);

  void set_tables(FastTables tables) { catalog_.set(std::move(tables)); }
  // Nothing is answered until it is open; once `close` returns, nothing is under way.
  void open() { door_.open(); }
  void close() { door_.close(); }

  // The answer; nothing: the request is not for here.
  std::optional<Answer> answer(FastMethod method, const Call& call);
  const FastTimes& times(FastMethod method) const { return times_[static_cast<std::size_t>(method)]; }
  const std::vector<double>& bounds_s() const { return bounds_s_; }

 private:
  std::optional<Answer> pull(std::string_view body);
  std::optional<Answer> lookup(std::string_view body);

  const std::vector<double> bounds_s_;
  const std::size_t max_keys_;
  FastDoor door_;
  FastCatalog catalog_;
  std::array<FastTimes, 2> times_;
  Blocks blocks_;
};

}  // namespace rowbank::wire
