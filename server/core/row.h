// One row in memory: a header of 16 bytes of metadata and the key's hash, and apart from it the values and the slots.
//
// Problem: choosing which rows to evict reads all metadata, and where it lies in front of each row's values that costs
// a cache line or two a row, at one of every few hundred bytes. Idea: headers lie side by side, by row name; see
// Headers and Arena. A pass over them reads memory in order, and a row of 64 float32 is exactly four cache lines.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "dtype.h"
#include "hash.h"

namespace rowbank {

// How often and when a row was last used; read and written as one 64-bit word, because reads may renew it while they
// hold only a shared lock.
struct Usage {
  std::uint32_t frequency = 0;  // A count, or a float's bits where frequencies decay; see FrequencyClock.
  std::uint32_t last_used = 0;  // Unix seconds.
};

struct RowHeader {
  std::uint64_t usage_word;
  std::uint64_t position_and_flags;  // Journal position last applied, below kPositionEnd, and the two flags.
  std::uint64_t hash;                // Of the key, which it stands for: no two keys have the same hash.

  static constexpr std::uint64_t kDirty = std::uint64_t{1} << 63;   // Not yet written back.
  static constexpr std::uint64_t kVacant = std::uint64_t{1} << 62;  // There is no row; `hash` is the bucket's to use.
  static constexpr std::uint64_t kPositionEnd = kVacant;

  std::int64_t key() const { return key_of_hash(hash); }
  Usage usage() const {
    const std::uint64_t word = __atomic_load_n(&usage_word, __ATOMIC_RELAXED);
    return {static_cast<std::uint32_t>(word), static_cast<std::uint32_t>(word >> 32)};
  }
  void set_usage(Usage usage) { __atomic_store_n(&usage_word, pack(usage), __ATOMIC_RELAXED); }
  bool replace_usage(Usage expected, Usage desired) {
    std::uint64_t word = pack(expected);
    return __atomic_compare_exchange_n(&usage_word, &word, pack(desired), false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
  }
  std::uint64_t position() const { return position_and_flags & (kPositionEnd - 1); }
  bool dirty() const { return (position_and_flags & kDirty) != 0; }
  bool vacant() const { return (position_and_flags & kVacant) != 0; }
  // Positions only move forward.
  void advance_position(std::uint64_t position) {
    position_and_flags = (position_and_flags & kDirty) | std::max(this->position(), position);
  }

 private:
  static std::uint64_t pack(Usage usage) { return usage.frequency | static_cast<std::uint64_t>(usage.last_used) << 32; }
};
static_assert(sizeof(RowHeader) == 24);

// Where things lie in a row of a given table: the values, then the slots.
struct RowLayout {
  std::size_t dim = 0;
  DType type = DType::kFloat32;
  std::size_t slot_width = 0;   // Floats.
  std::size_t value_bytes = 0;  // dim values of that type.
  std::size_t slots_at = 0;     // Offset of the slots, a multiple of 4.
  std::size_t stride = 0;       // Bytes from row to row, a multiple of 8.

  static RowLayout make(std::size_t dim, DType type, std::size_t slot_width) {
    RowLayout layout;
    layout.dim = dim;
    layout.type = type;
    layout.slot_width = slot_width;
    layout.value_bytes = dim * dtype_bytes(type);
    layout.slots_at = (layout.value_bytes + 3) / 4 * 4;
    layout.stride = (layout.slots_at + slot_width * sizeof(float) + 7) / 8 * 8;
    return layout;
  }

  float* slots(char* row) const { return reinterpret_cast<float*>(row + slots_at); }
  const float* slots(const char* row) const { return reinterpret_cast<const float*>(row + slots_at); }
};

// Frequencies: plain counts that stop at 2^32 - 1, or, with a half-life, floats that halve once per half_life_s without
// use. A decayed frequency is stored as it was at `last_used` and aged when it is read.
class FrequencyClock {
 public:
  explicit FrequencyClock(double half_life_s) : half_life_s_(half_life_s) {}

  bool decays() const { return half_life_s_ > 0; }

  // The usage after `count` more occurrences at `now`.
  Usage used(Usage usage, std::uint32_t count, std::uint32_t now) const {
    Usage next;
    next.last_used = std::max(usage.last_used, now);
    if (decays()) {
      next.frequency = bits_of(static_cast<float>(aged(usage, next.last_used)) + static_cast<float>(count));
    } else {
      next.frequency = usage.frequency > 0xFFFFFFFFU - count ? 0xFFFFFFFFU : usage.frequency + count;
    }
    return next;
  }

  // The frequency as it counts at `now`.
  double aged(Usage usage, std::uint32_t now) const {
    if (!decays()) {
      return usage.frequency;
    }
    const double idle_s = now > usage.last_used ? static_cast<double>(now - usage.last_used) : 0.0;
    return static_cast<double>(float_of(usage.frequency)) * std::exp2(-idle_s / half_life_s_);
  }

  // What `aged` says, as 32 bits in the same order: a count, or the bits of a float, which is never negative.
  std::uint32_t aged_bits(Usage usage, std::uint32_t now) const {
    return decays() ? bits_of(static_cast<float>(aged(usage, now))) : usage.frequency;
  }
  double number_of(std::uint32_t bits) const { return decays() ? float_of(bits) : bits; }

  // The stored form of a frequency that `number_of` said, perhaps of another clock.
  std::uint32_t from_number(double number) const {
    if (decays()) {
      return bits_of(static_cast<float>(number));
    }
    const double rounded = std::round(number);
    return rounded >= 4294967295.0 ? 0xFFFFFFFFU : static_cast<std::uint32_t>(rounded);
  }
  std::uint32_t from_count(std::uint32_t count) const { return decays() ? bits_of(static_cast<float>(count)) : count; }
  // The stored frequency as a whole number, as of its `last_used`.
  std::uint32_t to_count(std::uint32_t frequency) const {
    if (!decays()) {
      return frequency;
    }
    const double rounded = std::round(static_cast<double>(float_of(frequency)));
    return rounded >= 4294967295.0 ? 0xFFFFFFFFU : static_cast<std::uint32_t>(rounded);
  }

 private:
  static std::uint32_t bits_of(float x) {
    std::uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    return bits;
  }
  static float float_of(std::uint32_t bits) {
    float x;
    std::memcpy(&x, &bits, sizeof x);
    return x;
  }

  double half_life_s_;
};

}  // namespace rowbank
