// Rows of 8 bits a value, for reads that may be coarse: a float32 scale, then an int8 for each value.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

namespace rowbank {

inline std::size_t int8_row_bytes(std::size_t dim) {
  return sizeof(float) + dim;
}

// The largest magnitude becomes 127, so that no value is off by more than a 254th of it. A row without a magnitude
// above 1e-30 reads as zeros, one that holds a NaN or an infinity as NaN throughout.
inline void float_to_int8_row(const float* in, char* out, std::size_t dim) {
  constexpr std::uint32_t kInfinite = 0x7F800000;
  constexpr float kSmallest = 1e-30F;
  // Added and taken away again, it rounds to the nearest integer, ties to even, in the low bits.
  constexpr float kRounding = 12582912.0F;
  // As integers, magnitudes are in the same order, with what is not finite above the rest.
  std::uint32_t largest_bits = 0;
  for (std::size_t d = 0; d < dim; ++d) {
    largest_bits = std::max(largest_bits, std::bit_cast<std::uint32_t>(in[d]) & 0x7FFFFFFFU);
  }
  const float largest = std::bit_cast<float>(largest_bits);
  auto* values = reinterpret_cast<std::int8_t*>(out + sizeof(float));
  float scale = 0.0F;
  if (largest_bits >= kInfinite || largest < kSmallest) {
    scale = largest_bits >= kInfinite ? std::numeric_limits<float>::quiet_NaN() : 0.0F;
    std::memset(values, 0, dim);
  } else {
    scale = largest / 127.0F;
    const float inverse = 127.0F / largest;
    for (std::size_t d = 0; d < dim; ++d) {
      const auto bits = std::bit_cast<std::int32_t>(in[d] * inverse + kRounding);
      values[d] = static_cast<std::int8_t>(bits - std::bit_cast<std::int32_t>(kRounding));
    }
  }
  std::memcpy(out, &scale, sizeof scale);
}

inline void int8_row_to_float(const char* in, float* out, std::size_t dim) {
  float scale = 0.0F;
  std::memcpy(&scale, in, sizeof scale);
  const auto* values = reinterpret_cast<const std::int8_t*>(in + sizeof(float));
  for (std::size_t d = 0; d < dim; ++d) out[d] = static_cast<float>(values[d]) * scale;
}

}  // namespace rowbank
