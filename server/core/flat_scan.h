// The two inner loops of the exact index, per instruction set and chosen at run time. All variants give the same
// integers and the same floats, so a search finds the same candidates on every machine.
//
// Layout of codes: items in blocks of 16; within a block, groups of 4 dimensions; within a group, 16 items x 4 bytes.
// One 64-byte load therefore holds 4 dimensions of 16 items, and sums stay in lanes: no horizontal additions. A code is
// an 8-bit number in [-127, 127] stored with 128 added, as the unsigned operand that the dot-product instructions want.
#pragma once

#include <cstddef>
#include <cstdint>

namespace rowbank {

inline constexpr std::size_t kScanBlock = 16;  // Items per block.

// What the bounds of one query's scores are made of; see flat_index.cc.
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

struct ScanKernel {
  const char* name;
  // Writes the integer dot products of `blocks` blocks with one query: `dots` [blocks * 16]. `query` has 4 * groups
  // codes.
  void (*dot)(const std::uint8_t* codes, std::size_t blocks, std::size_t groups, const std::int8_t* query,
              std::int32_t* dots);
  // Writes to `hits` the offsets of the items whose upper bound reaches `threshold` and whose bit in `exclude` (null:
  // nothing excluded; 2 bytes a block) is clear. Returns how many; `hits` has room for all.
  std::size_t (*filter)(const std::int32_t* dots, std::size_t blocks, const ItemColumns& items,
                        const ScanBounds& bounds, float threshold, const std::uint8_t* exclude, std::uint32_t* hits);
};

// The widest variant that this CPU runs.
const ScanKernel& scan_kernel();

// The variant of that name ("scalar", "avx2", "avx512"), or null when it is not built in or the CPU lacks it.
const ScanKernel* scan_kernel_named(const char* name);

// The upper bound of one score, in the order of operations that every variant uses.
inline float upper_bound(std::int32_t dot, float scale, float error, float norm, const ScanBounds& bounds) {
  const float estimate = static_cast<float>(dot) * (scale * bounds.scale);
  const float slack = error * bounds.error_gain + norm * bounds.norm_gain;
  return estimate + slack;
}

}  // namespace rowbank
