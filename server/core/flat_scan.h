// The inner loops of the indexes, per instruction set and chosen at run time. All variants give the same integers and
// the same floats, so a search finds the same candidates and the same scores on every machine.
//
// Layout of codes: items in blocks of 16; within a block, groups of 4 dimensions; within a group, 16 items x 4 bytes.
// One 64-byte load therefore holds 4 dimensions of 16 items, and sums stay in lanes: no horizontal additions. A code is
// an 8-bit number in [-127, 127] stored with 128 added, as the unsigned operand that the dot-product instructions want.
//
// Loops get a list of block numbers instead of a range, so that blocks nobody may find are never read.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace rowbank {

inline constexpr std::size_t kScanBlock = 16;  // Items per block.
inline constexpr std::size_t kTogether = 6;    // Queries at most that share the reading of codes.

// What the bounds of one query's scores are made of; see top_search.h.
struct ScanBounds {
  float scale = 0;       // Of the query's codes.
  float error_gain = 0;  // Times an item's quantization error.
  float norm_gain = 0;   // Times the norm of an item's codes.
};

// Per item, padded to whole blocks.
struct ItemColumns {
  const float* scale;
  const float* error;
  const float* norm;
};

// What goes with the listed blocks, in the order of the list; each may be null.
struct ListedBlocks {
  const std::uint32_t* blocks;  // [count]
  std::size_t count;
  const std::uint16_t* excluded;  // [count]: a set bit, least significant first, takes the item out.
  const float* bonus;             // [count * 16]: added to the items' scores.
};

// What is sifted: listed blocks under 1 to kTogether queries.
struct SiftedQuery {
  const std::int8_t* codes;  // [4 * groups]
  float least;               // What a dot product times the item's scale must reach.
};
struct Sifted {
  const std::uint8_t* codes;
  const std::uint32_t* blocks;  // [count]
  std::size_t count;
  std::size_t groups;
  const float* scale;  // As in ItemColumns.
  const SiftedQuery* queries;
  std::size_t wanted;          // Queries.
  const std::uint8_t* coming;  // Codes that will be read soon, to be brought into the cache meanwhile, and how many
  std::size_t coming_lines;    // lines of 64 bytes.
};

struct ScanKernel {
  const char* name;
  // Writes the integer dot products of the listed blocks with one query: `dots` [count * 16]. `query` has 4 * groups
  // codes.
  void (*dot)(const std::uint8_t* codes, const std::uint32_t* blocks, std::size_t count, std::size_t groups,
              const std::int8_t* query, std::int32_t* dots);
  // The same of several queries that share each load, for those items alone whose dot product times `scale` reaches the
  // query's `least`: a set bit of `masks` [wanted, count] says which they are, and `dots` [wanted, count * 16] is
  // written for blocks with a set bit only. Null where registers hold the sums of one query alone.
  void (*sift)(const Sifted& sifted, std::uint16_t* masks, std::int32_t* dots);
  // Writes to `hits` the offsets in `dots` of the items whose upper bound reaches `threshold` and that are not
  // excluded. Returns how many; `hits` has room for all.
  std::size_t (*filter)(const std::int32_t* dots, const ListedBlocks& listed, const ItemColumns& items,
                        const ScanBounds& bounds, float threshold, std::uint32_t* hits);
  // How many bits are set.
  std::size_t (*ones)(const std::uint8_t* bits, std::size_t bytes);
  // The dot product of two float vectors in double precision, in eight sums that are added in a fixed order.
  double (*score)(const float* a, const float* b, std::size_t dim);
};

// The widest variant that this CPU runs.
const ScanKernel& scan_kernel();

// The variant of that name ("scalar", "avx2", "avx512", "neon", "neon_dot"), or null when it is not built in or the CPU
// lacks it.
const ScanKernel* scan_kernel_named(const char* name);

// The relative error that a sum with a bonus may have, as a share of the bonus; see top_search.h.
inline constexpr float kBonusRounding = 1.0F / (1 << 18);

struct ScoreRange {
  float lower;
  float upper;
};

// The bounds of one score, in the order of operations that every variant uses.
inline ScoreRange score_range(std::int32_t dot, float scale, float error, float norm, const ScanBounds& bounds) {
  const float estimate = static_cast<float>(dot) * (scale * bounds.scale);
  const float slack = error * bounds.error_gain + norm * bounds.norm_gain;
  return {estimate - slack, estimate + slack};
}

inline ScoreRange score_range(std::int32_t dot, float scale, float error, float norm, const ScanBounds& bounds,
                              float bonus) {
  const float estimate = static_cast<float>(dot) * (scale * bounds.scale) + bonus;
  const float slack =
      error * bounds.error_gain + norm * bounds.norm_gain + (bonus < 0 ? -bonus : bonus) * kBonusRounding;
  return {estimate - slack, estimate + slack};
}

// What a dot product times the item's scale must reach for the upper bound of the item's score to reach `threshold`, if
// no item has a larger error or norm than these. A bit too little, so that rounding never takes an item out that
// `score_range` would let in.
inline float least_scaled(const ScanBounds& bounds, float threshold, float error, float norm) {
  constexpr double kMargin = 1e-5;
  constexpr float kLargest = std::numeric_limits<float>::max();
  const double slack = static_cast<double>(error) * bounds.error_gain + static_cast<double>(norm) * bounds.norm_gain;
  const double least = threshold - slack - kMargin * (std::fabs(threshold) + slack);
  const double scaled = least / bounds.scale;
  if (bounds.scale <= 0 || scaled < -kLargest) return -std::numeric_limits<float>::infinity();
  return scaled > kLargest ? kLargest : static_cast<float>(scaled);
}

inline std::size_t count_ones(const std::uint8_t* bits, std::size_t bytes) {
  std::size_t ones = 0;
  std::size_t i = 0;
  for (; i + 8 <= bytes; i += 8) {
    std::uint64_t word = 0;
    __builtin_memcpy(&word, bits + i, 8);
    ones += static_cast<std::size_t>(__builtin_popcountll(word));
  }
  for (; i < bytes; ++i) ones += static_cast<std::size_t>(__builtin_popcount(bits[i]));
  return ones;
}

// Adds eight partial sums in the order that every variant uses.
inline double add_sums(const double* sums) {
  return ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7]));
}

// The variants of other files; null where the CPU lacks them.
const ScanKernel* x86_kernel(const char* name);
const ScanKernel* neon_kernel(const char* name);

}  // namespace rowbank
