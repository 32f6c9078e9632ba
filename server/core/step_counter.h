// The highest optimizer step of a table.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>
#include <stdexcept>

namespace rowbank {

// Thread-safe.
class StepCounter {
 public:
  explicit StepCounter(std::uint64_t step) : step_(step) {}

  std::uint64_t step() const { return step_.load(std::memory_order_relaxed); }
  // The step of a push: `asked`, or for 0 the one after the highest so far. Throws std::overflow_error: there is none.
  std::uint64_t next(std::uint64_t asked) {
    std::uint64_t highest = step();
    for (;;) {
      if (asked == 0 && highest == std::numeric_limits<std::uint64_t>::max()) {
        throw std::overflow_error("step: there is none after 2^64 - 1, which was pushed");
      }
      const std::uint64_t step = asked != 0 ? asked : highest + 1;
      if (step_.compare_exchange_weak(highest, std::max(highest, step), std::memory_order_relaxed)) {
        return step;
      }
    }
  }
  // Lets the next push be a later one than `step`.
  void raise(std::uint64_t step) {
    std::uint64_t highest = this->step();
    while (highest < step && !step_.compare_exchange_weak(highest, step, std::memory_order_relaxed)) {
    }
  }

 private:
  std::atomic<std::uint64_t> step_;
};

}  // namespace rowbank
