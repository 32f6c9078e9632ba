#include "flat_index.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <stdexcept>
#include <string>

namespace rowbank {
namespace {

constexpr std::size_t kMaxDim = 4096;
constexpr double kMaxNorm = 1e18;      // The product of two norms and every bound stay finite in float32.
constexpr double kMinLargest = 1e-30;  // Smaller vectors have no codes: their error is their length.
// Bounds are computed in float32 in a handful of operations, each off by at most 2^-24 of the magnitudes involved.
constexpr double kRounding = 1.0 / (1 << 18);
constexpr float kUnderflow = 1e-36F;      // More than products of tiny scales lose by flushing towards zero.
constexpr std::size_t kChunkBlocks = 32;  // 512 items: their codes stay in the cache for all queries of a batch.
constexpr float kNegInf = -std::numeric_limits<float>::infinity();

struct Encoded {
  float scale;
  float error;  // |v - decoded|, rounded up.
  float norm;   // |decoded|, rounded up.
  double length;
};

float round_up(double value) {
  return std::nextafter(static_cast<float>(value), std::numeric_limits<float>::infinity());
}

// Writes dim codes in [-127, 127]. `what` names the vector in an error.
Encoded encode(const float* values, std::size_t dim, std::int8_t* codes, const char* what, std::size_t index) {
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

double exact_score(const float* a, const float* b, std::size_t dim) {
  double sum[4] = {0, 0, 0, 0};
  std::size_t i = 0;
  for (; i + 4 <= dim; i += 4) {
    for (std::size_t j = 0; j < 4; ++j) sum[j] += static_cast<double>(a[i + j]) * b[i + j];
  }
  for (; i < dim; ++i) sum[0] += static_cast<double>(a[i]) * b[i];
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

struct Candidate {
  std::uint32_t position;
  float upper;
};

struct Scored {
  double score;
  std::uint32_t position;
  bool operator<(const Scored& other) const {
    return score != other.score ? score > other.score : position < other.position;
  }
};

}  // namespace

struct FlatIndex::Query {
  const float* values;
  std::vector<std::int8_t> codes;  // 4 * groups.
  ScanBounds bounds;
  std::size_t wanted;
  std::vector<float> lower;  // A min-heap of the `wanted` largest lower bounds.
  float threshold = kNegInf;
  std::vector<Candidate> candidates;

  void offer(std::uint32_t position, float upper, float bound) {
    candidates.push_back({position, upper});
    if (lower.size() < wanted) {
      lower.push_back(bound);
      std::push_heap(lower.begin(), lower.end(), std::greater<>());
    } else if (bound > lower.front()) {
      std::pop_heap(lower.begin(), lower.end(), std::greater<>());
      lower.back() = bound;
      std::push_heap(lower.begin(), lower.end(), std::greater<>());
    }
    if (lower.size() == wanted) threshold = lower.front() - kUnderflow;
  }
};

FlatIndex::FlatIndex(const float* vectors, std::size_t size, std::size_t dim, const ScanKernel& kernel)
    : size_(size), dim_(dim), groups_((dim + 3) / 4), kernel_(&kernel) {
  if (dim == 0 || dim > kMaxDim) {
    throw std::invalid_argument("dim must be 1 to " + std::to_string(kMaxDim) + ", got " + std::to_string(dim));
  }
  if (size > static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max())) {
    throw std::invalid_argument("an index holds at most 2^31 - 1 vectors, got " + std::to_string(size));
  }
  vectors_.assign(vectors, vectors + size * dim);
  encode_items();
}

std::size_t FlatIndex::bytes() const {
  return vectors_.size() * sizeof(float) + codes_.size() + 3 * scale_.size() * sizeof(float);
}

void FlatIndex::encode_items() {
  const std::size_t blocks = (size_ + kScanBlock - 1) / kScanBlock;
  codes_.assign(blocks * groups_ * 4 * kScanBlock, 128);
  scale_.assign(blocks * kScanBlock, 0);
  error_.assign(blocks * kScanBlock, 0);
  norm_.assign(blocks * kScanBlock, 0);
  std::vector<std::int8_t> row(dim_);
  for (std::size_t item = 0; item < size_; ++item) {
    const Encoded encoded = encode(vectors_.data() + item * dim_, dim_, row.data(), "vector", item);
    scale_[item] = encoded.scale;
    error_[item] = encoded.error;
    norm_[item] = encoded.norm;
    std::uint8_t* out = codes_.data() + item / kScanBlock * groups_ * 4 * kScanBlock + item % kScanBlock * 4;
    for (std::size_t i = 0; i < dim_; ++i) {
      out[i / 4 * 4 * kScanBlock + i % 4] = static_cast<std::uint8_t>(row[i] + 128);
    }
  }
}

FlatIndex::Query FlatIndex::prepare(const float* values, std::size_t index, std::size_t k) const {
  Query query;
  query.values = values;
  query.codes.assign(4 * groups_, 0);
  const Encoded encoded = encode(values, dim_, query.codes.data(), "query", index);
  query.bounds.scale = encoded.scale;
  query.bounds.error_gain = round_up(encoded.length * (1 + kRounding));
  query.bounds.norm_gain = round_up((encoded.error + kRounding * encoded.norm) * (1 + kRounding));
  query.wanted = std::min(k, size_);
  query.lower.reserve(query.wanted);
  return query;
}

void FlatIndex::scan(std::size_t first_block, std::size_t blocks, const std::uint8_t* exclude, Query& query) const {
  std::int32_t dots[kChunkBlocks * kScanBlock];
  std::uint32_t hits[kChunkBlocks * kScanBlock];
  const std::size_t first = first_block * kScanBlock;
  kernel_->dot(codes_.data() + first_block * groups_ * 4 * kScanBlock, blocks, groups_, query.codes.data(), dots);
  const ItemColumns items{scale_.data() + first, error_.data() + first, norm_.data() + first};
  const std::size_t count = kernel_->filter(dots, blocks, items, query.bounds, query.threshold, exclude, hits);
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint32_t offset = hits[i];
    if (first + offset >= size_) break;  // Padding of the last block.
    const float estimate = static_cast<float>(dots[offset]) * (items.scale[offset] * query.bounds.scale);
    const float upper =
        upper_bound(dots[offset], items.scale[offset], items.error[offset], items.norm[offset], query.bounds);
    if (upper < query.threshold) continue;  // The threshold rose within this chunk.
    query.offer(static_cast<std::uint32_t>(first + offset), upper, estimate - (upper - estimate));
  }
}

void FlatIndex::finish(const Query& query, std::size_t k, std::int64_t* positions, float* scores) const {
  std::vector<Scored> best;
  best.reserve(2 * query.wanted);
  for (const Candidate& candidate : query.candidates) {
    if (candidate.upper < query.threshold) continue;
    best.push_back({exact_score(query.values, vectors_.data() + candidate.position * dim_, dim_), candidate.position});
  }
  const std::size_t found = std::min(k, best.size());
  std::partial_sort(best.begin(), best.begin() + static_cast<std::ptrdiff_t>(found), best.end());
  for (std::size_t i = 0; i < k; ++i) {
    positions[i] = i < found ? static_cast<std::int64_t>(best[i].position) : -1;
    scores[i] = i < found ? static_cast<float>(best[i].score) : kNegInf;
  }
}

void FlatIndex::search(const float* queries, std::size_t count, std::size_t k, const std::uint8_t* exclude,
                       std::size_t exclude_stride, std::int64_t* positions, float* scores) const {
  std::vector<Query> prepared;
  prepared.reserve(count);
  for (std::size_t i = 0; i < count; ++i) prepared.push_back(prepare(queries + i * dim_, i, k));
  const std::size_t blocks = k == 0 ? 0 : (size_ + kScanBlock - 1) / kScanBlock;
  // The kernels read two bytes a block; a caller's bitmap may end after the first byte of the last one.
  const std::size_t bitmap_bytes = (size_ + 7) / 8;
  for (std::size_t first = 0; first < blocks; first += kChunkBlocks) {
    const std::size_t here = std::min(kChunkBlocks, blocks - first);
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint8_t* bits = exclude == nullptr ? nullptr : exclude + i * exclude_stride + 2 * first;
      std::uint8_t padded[2 * kChunkBlocks];
      if (bits != nullptr && 2 * (first + here) > bitmap_bytes) {
        std::fill(std::copy(bits, bits + (bitmap_bytes - 2 * first), padded), padded + 2 * here, std::uint8_t{0xFF});
        bits = padded;
      }
      scan(first, here, bits, prepared[i]);
    }
  }
  for (std::size_t i = 0; i < count; ++i) finish(prepared[i], k, positions + i * k, scores + i * k);
}

}  // namespace rowbank
