// Spreads keys over the places of a table.
#pragma once

#include <cstdint>

namespace rowbank::client {

inline std::uint64_t mix(std::int64_t key) {
  auto z = static_cast<std::uint64_t>(key);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

}  // namespace rowbank::client
