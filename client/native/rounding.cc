#include "rounding.h"

#include <algorithm>
#include <bit>

namespace rowbank::client {
namespace {

constexpr std::uint32_t kMagnitude = 0x7FFFFFFF;
constexpr std::uint32_t kSmallestNormalHalf = 0x38800000;  // 2^-14, as float32 has it.
constexpr std::uint32_t kExponentShift = 112U << 10;
constexpr std::uint32_t kLargestHalf = 0x7BFF;
constexpr std::uint32_t kLargestBFloat = 0x7F7F;

// 16 random bits.
inline std::uint32_t random_bits(std::uint32_t place, std::uint32_t low, std::uint32_t high) {
  std::uint32_t x = place * 0x9E3779B9U + low;
  x = (x ^ (x >> 16)) * 0x7FEB352DU + high;
  x = (x ^ (x >> 15)) * 0x846CA68BU;
  return x >> 16;
}

inline std::uint16_t half_of(float value, std::uint32_t random) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t magnitude = bits & kMagnitude;
  const std::uint32_t normal = std::min(((magnitude + (random >> 3)) >> 13) - kExponentShift, kLargestHalf);
  // In units of the smallest float16. Kept below what an int holds, for the compiler computes both ways.
  const float units = std::min(std::bit_cast<float>(magnitude) * 0x1p24F, 1024.0F);
  const auto whole = static_cast<std::int32_t>(units);
  const float rest = units - static_cast<float>(whole);
  const bool up = (static_cast<float>(random) + 0.5F) * 0x1p-16F < rest;
  const std::uint32_t subnormal = static_cast<std::uint32_t>(whole) + (up ? 1U : 0U);
  const std::uint32_t half = magnitude < kSmallestNormalHalf ? subnormal : normal;
  return static_cast<std::uint16_t>((bits >> 16 & 0x8000U) | half);
}

inline std::uint16_t bfloat_of(float value, std::uint32_t random) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t kept = std::min(((bits & kMagnitude) + random) >> 16, kLargestBFloat);
  return static_cast<std::uint16_t>((bits >> 16 & 0x8000U) | kept);
}

template <auto Round>
void round_all(const float* in, std::uint16_t* out, std::size_t count, std::uint64_t seed) {
  const auto low = static_cast<std::uint32_t>(seed);
  const auto high = static_cast<std::uint32_t>(seed >> 32);
  for (std::size_t i = 0; i < count; ++i) {
    out[i] = Round(in[i], random_bits(static_cast<std::uint32_t>(i), low, high));
  }
}

}  // namespace

void float_to_half_at_random(const float* in, std::uint16_t* out, std::size_t count, std::uint64_t seed) {
  round_all<half_of>(in, out, count, seed);
}

void float_to_bfloat_at_random(const float* in, std::uint16_t* out, std::size_t count, std::uint64_t seed) {
  round_all<bfloat_of>(in, out, count, seed);
}

}  // namespace rowbank::client
