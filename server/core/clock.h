// The clock that nobody sets, and how long to wait by it.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace rowbank {

inline std::int64_t steady_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// `seconds` from now: none where it is negative, and no more than the clock can hold.
inline std::chrono::steady_clock::time_point deadline_in(double seconds) {
  constexpr double kLongestS = 1e6;
  return std::chrono::steady_clock::now() + std::chrono::duration_cast<std::chrono::nanoseconds>(
                                                std::chrono::duration<double>(std::clamp(seconds, 0.0, kLongestS)));
}

}  // namespace rowbank
