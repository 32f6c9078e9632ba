// 8-bit codes of float vectors, with what bounds their error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "flat_scan.h"
#include "pages.h"

namespace rowbank {

inline constexpr std::size_t kMaxVectorDim = 4096;
inline constexpr std::uint32_t kNoPosition = 0xFFFFFFFF;  // Of a slot that holds no item.

struct Encoded {
  float scale;
  float error;  // |v - decoded|, rounded up.
  float norm;   // |decoded|, rounded up.
  double length;
};

// Writes dim codes in [-127, 127]. Throws std::invalid_argument for a vector that is not finite or longer than 1e18;
// `what` and `index` name it.
Encoded encode_vector(const float* values, std::size_t dim, std::int8_t* codes, const char* what, std::size_t index);

// The smallest float that is at least `value`, or the next one.
float round_up(double value);

// Codes in the layout of flat_scan.h, in memory of somebody else.
struct CodeArrays {
  const std::uint8_t* codes;
  ItemColumns items;
};

// Codes are read from end to end by each search: small pages would cost it a look-up of a page each four blocks.
struct VectorCodes {
  HugeVector<std::uint8_t> codes;
  std::vector<float> scale, error, norm;

  CodeArrays arrays() const { return {codes.data(), {scale.data(), error.data(), norm.data()}}; }
  std::size_t bytes() const { return codes.size() + 3 * scale.size() * sizeof(float); }
};

inline std::size_t blocks_of(std::size_t items) {
  return (items + kScanBlock - 1) / kScanBlock;
}
inline std::size_t groups_of(std::size_t dim) {
  return (dim + 3) / 4;
}

// Encodes `slots` vectors, padded to whole blocks. Slot i holds the vector at `positions[i]` of [size, dim], or none
// for kNoPosition; null: at i. Throws as encode_vector.
VectorCodes encode_vectors(const float* vectors, std::size_t dim, const std::uint32_t* positions, std::size_t slots);

// Throws std::invalid_argument for dim 0 or beyond 4096, or more than 2^31 - 1 vectors.
void check_vector_shape(std::size_t size, std::size_t dim);

}  // namespace rowbank
