// The row that all keys share that were not admitted yet.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

#include "optimizer.h"

namespace rowbank {

// Trained like any row: one push applies the sum of the gradients of all its unadmitted keys, once. Values are float32
// whatever the table's type. Stored as: u32 format = 1 | u32 CRC-32C of the rest | values float32 x dim | slots.
// Thread-safe.
class CommonRow {
 public:
  CommonRow(std::vector<float> values, const Optimizer& optimizer);

  void read(float* out) const;
  void apply(const UpdatePlan& plan, float* gradient_sum);

  // The stored form when the row changed since it was last taken.
  std::optional<std::vector<char>> take_dirty();
  // The stored form; the row stays as dirty as it is.
  std::vector<char> pack() const;
  void mark_dirty();
  // Throws std::invalid_argument when the bytes are not a whole common row of this shape.
  void load(const char* packed, std::size_t size);
  void reset(std::vector<float> values, const Optimizer& optimizer);

 private:
  std::vector<char> packed() const;  // REQUIRES: mutex_ is held.

  mutable std::mutex mutex_;
  std::vector<float> values_;
  std::vector<float> slots_;
  bool dirty_ = false;
};

}  // namespace rowbank
