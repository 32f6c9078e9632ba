// An exact index of vectors under the dot product.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "flat_scan.h"

namespace rowbank {

// Finds the k vectors of largest dot product with a query, exactly. Immutable, so any number of threads may search.
//
// Problem: a float32 scan of N vectors is bound by memory and arithmetic, while 8-bit codes are a quarter of the bytes
// and one instruction multiplies 64 of them. But codes are not the vectors: asking them for "twice as many as wanted"
// finds the best only with luck. Idea: the codes give each score with an error that can be bounded. With v = v' + e (v'
// the decoded item) and q = q' + f, the true score is v'.q' + v'.f + e.q, hence within |v'||f| + |e||q| of v'.q'. An
// item can be among the best k only if its upper bound reaches the k-th largest lower bound. Those few, about twice k
// on real vectors, are scored again from the float32 vectors in double precision. Cost grows only where many scores lie
// within the bound: the result stays exact there and the rerank gets longer.
class FlatIndex {
 public:
  // Copies `vectors` [size, dim]. Throws std::invalid_argument for dim 0 or beyond 4096, more than 2^31 vectors, and
  // for a vector that is not finite or longer than 1e18, naming it.
  FlatIndex(const float* vectors, std::size_t size, std::size_t dim, const ScanKernel& kernel = scan_kernel());

  std::size_t size() const { return size_; }
  std::size_t dim() const { return dim_; }
  std::size_t bytes() const;
  const char* kernel() const { return kernel_->name; }
  const float* vectors() const { return vectors_.data(); }

  // Searches `count` queries [count, dim]; row i of `positions` and `scores` [count, k] holds the best positions of
  // query i, best first, equal scores by position. Where fewer than k are eligible, the rest is position -1, score
  // -infinity. `exclude` is null or one bitmap per query, `exclude_stride` bytes apart (0: the same for all), at least
  // ceil(size / 8) bytes, least significant bit first; a set bit takes its position out. Throws std::invalid_argument
  // for a query that is not finite or longer than 1e18.
  void search(const float* queries, std::size_t count, std::size_t k, const std::uint8_t* exclude,
              std::size_t exclude_stride, std::int64_t* positions, float* scores) const;

 private:
  struct Query;

  void encode_items();
  Query prepare(const float* values, std::size_t index, std::size_t k) const;
  void scan(std::size_t first_block, std::size_t blocks, const std::uint8_t* exclude, Query& query) const;
  void finish(const Query& query, std::size_t k, std::int64_t* positions, float* scores) const;

  std::size_t size_;
  std::size_t dim_;
  std::size_t groups_;  // Of 4 dimensions.
  const ScanKernel* kernel_;
  std::vector<float> vectors_;               // [size, dim]
  std::vector<std::uint8_t> codes_;          // See flat_scan.h.
  std::vector<float> scale_, error_, norm_;  // Per item, whole blocks: of its codes; |e|; |v'|.
};

}  // namespace rowbank
