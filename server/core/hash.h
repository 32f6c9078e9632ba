// Hashes that every part of the system agrees on. The client routes by them and NumPy twins exist, so a change here is
// a change of the stored format.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace rowbank {

inline constexpr std::uint64_t kGolden = 0x9E3779B97F4A7C15ULL;

// The finalizer of splitmix64: a bijection of 64 bits in which every input bit moves every output bit.
inline std::uint64_t mix64(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

// The other way: both multipliers are replaced by their inverses modulo 2^64, and a shift of b bits is undone by
// shifts of b, 2b ... bits.
inline std::uint64_t unmix64(std::uint64_t z) {
  z = (z ^ (z >> 31) ^ (z >> 62)) * 0x319642B2D24D8EC3ULL;
  z = (z ^ (z >> 27) ^ (z >> 54)) * 0x96DE1B173F119089ULL;
  return z ^ (z >> 30) ^ (z >> 60);
}

// Keys are never used raw: ids that end alike (multiples of 2^n) must spread over buckets, tags and index positions. It
// is a bijection: two keys never share a hash, and key_of_hash gives the key back.
inline std::uint64_t hash_key(std::int64_t key) {
  return mix64(static_cast<std::uint64_t>(key) + kGolden);
}
inline std::int64_t key_of_hash(std::uint64_t hash) {
  return static_cast<std::int64_t>(unmix64(hash) - kGolden);
}

// The bucket takes the high half of the hash; tags and index positions inside a bucket take the low half.
inline std::uint32_t bucket_of_hash(std::uint64_t hash, std::uint32_t bucket_count) {
  return static_cast<std::uint32_t>(((hash >> 32) * bucket_count) >> 32);
}

inline std::uint64_t fnv1a64(std::string_view text) {
  std::uint64_t h = 0xCBF29CE484222325ULL;
  for (const char c : text) {
    h = (h ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  }
  return h;
}

}  // namespace rowbank
