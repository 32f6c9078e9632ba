// Initial values of rows, as a pure function of (seed, table name, key, element).
//
// Problem: an unseen key must read the same values on every shard, on every read, before and after it is stored, and
// after a restart. Idea: no generator state. The draw for element i of key k is mix64(base + (i + 1) * golden) where
// base is hash_key(k) ^ mix64(seed ^ fnv1a64(table name)): the splitmix64 stream that starts at base. Uniform takes the
// top 24 bits, exactly the precision of a float in [0, 1). Normal and truncated normal take the top 53 bits and go
// through the inverse of the normal distribution (Wichura's algorithm AS 241, PPND16): one draw per element, no
// rejection, and plain IEEE arithmetic except in the tails, so that a NumPy twin gives the same numbers. Truncation
// draws only from the probability between -2 and 2 standard deviations.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace rowbank {

enum class InitializerKind : std::uint8_t { kZeros, kConstant, kUniform, kNormal, kTruncatedNormal };

class Initializer {
 public:
  // `a` and `b`: value and nothing (constant), low and high (uniform), mean and standard deviation (normal, truncated).
  // Throws std::invalid_argument for an unknown kind, numbers that are not finite, low > high, a negative deviation.
  Initializer(const std::string& kind, double a, double b, std::uint64_t seed);

  InitializerKind kind() const { return kind_; }
  float a() const { return a_; }
  float b() const { return b_; }
  std::uint64_t seed() const { return seed_; }

  // What `fill` needs to know of a table.
  std::uint64_t salt(std::string_view table_name) const;

  // Writes the initial values of the key with that hash to out[0..dim).
  void fill(std::uint64_t salt, std::uint64_t key_hash, float* out, std::size_t dim) const;

 private:
  InitializerKind kind_;
  float a_;
  float b_;
  std::uint64_t seed_;
};

// The x with P(standard normal < x) = p, for 0 < p < 1, to about 16 digits.
double normal_quantile(double p);

}  // namespace rowbank
