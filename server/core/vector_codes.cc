#include "vector_codes.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

namespace rowbank {
namespace {

constexpr double kMaxNorm = 1e18;      // The product of two norms and every bound stay finite in float32.
constexpr double kMinLargest = 1e-30;  // Smaller vectors have no codes: their error is their length.

}  // namespace

float round_up(double value) {
  return std::nextafter(static_cast<float>(value), std::numeric_limits<float>::infinity());
}

Encoded encode_vector(const float* values, std::size_t dim, std::int8_t* codes, const char* what, std::size_t index) {
  double largest = 0;
  double squares = 0;
  for (std::size_t i = 0; i < dim; ++i) {
    const double value = values[i];
    if (!std::isfinite(value)) {
      throw std::invalid_argument(std::string(what) + " " + std::to_string(index) + " is not finite in dimension " +
                                  std::to_string(i));
    }
    largest = std::max(largest, std::fabs(value));
    squares += value * value;
  }
  const double length = std::sqrt(squares);
  if (length > kMaxNorm) {
    throw std::invalid_argument(std::string(what) + " " + std::to_string(index) + " is longer than 1e18");
  }
  if (largest < kMinLargest) {
    std::fill(codes, codes + dim, std::int8_t{0});
    return {0, round_up(length), 0, length};
  }
  const float scale = static_cast<float>(largest / 127);
  double error = 0;
  double norm = 0;
  for (std::size_t i = 0; i < dim; ++i) {
    const double code = std::clamp(std::nearbyint(static_cast<double>(values[i]) / scale), -127.0, 127.0);
    codes[i] = static_cast<std::int8_t>(code);
    const double decoded = code * scale;
    error += (values[i] - decoded) * (values[i] - decoded);
    norm += decoded * decoded;
  }
  return {scale, round_up(std::sqrt(error)), round_up(std::sqrt(norm)), length};
}

VectorCodes encode_vectors(const float* vectors, std::size_t dim, const std::uint32_t* positions, std::size_t slots) {
  VectorCodes out;
  const std::size_t blocks = blocks_of(slots);
  const std::size_t groups = groups_of(dim);
  out.codes.assign(blocks * groups * 4 * kScanBlock, 128);
  out.scale.assign(blocks * kScanBlock, 0);
  out.error.assign(blocks * kScanBlock, 0);
  out.norm.assign(blocks * kScanBlock, 0);
  std::vector<std::int8_t> row(dim);
  for (std::size_t slot = 0; slot < slots; ++slot) {
    const std::size_t item = positions == nullptr ? slot : positions[slot];
    if (item == kNoPosition) continue;
    const Encoded encoded = encode_vector(vectors + item * dim, dim, row.data(), "vector", item);
    out.scale[slot] = encoded.scale;
    out.error[slot] = encoded.error;
    out.norm[slot] = encoded.norm;
    std::uint8_t* codes = out.codes.data() + slot / kScanBlock * groups * 4 * kScanBlock + slot % kScanBlock * 4;
    for (std::size_t i = 0; i < dim; ++i) {
      codes[i / 4 * 4 * kScanBlock + i % 4] = static_cast<std::uint8_t>(row[i] + 128);
    }
  }
  return out;
}

void check_vector_shape(std::size_t size, std::size_t dim) {
  if (dim == 0 || dim > kMaxVectorDim) {
    throw std::invalid_argument("dim must be 1 to " + std::to_string(kMaxVectorDim) + ", got " + std::to_string(dim));
  }
  if (size > static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max())) {
    throw std::invalid_argument("an index holds at most 2^31 - 1 vectors, got " + std::to_string(size));
  }
}

}  // namespace rowbank
