// An exact index of vectors under the dot product.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "flat_scan.h"
#include "top_search.h"
#include "vector_codes.h"

namespace rowbank {

// `count` from `first` on.
struct Range {
  std::size_t first;
  std::size_t count;
};

// Finds the k vectors of largest score with a query, exactly, as top_search.h says. A score is the dot product and, if
// there is one, the position's bonus. Immutable, so any number of threads may search.
//
// Where few positions are eligible they are scored from their float vectors alone; otherwise blocks whose items are all
// excluded are not read. What is found is the same.
class FlatIndex {
 public:
  // Copies `vectors` [size, dim]. Throws std::invalid_argument for dim 0 or beyond 4096, more than 2^31 vectors, and
  // for a vector that is not finite or longer than 1e18, naming it.
  FlatIndex(const float* vectors, std::size_t size, std::size_t dim, const ScanKernel& kernel = scan_kernel());

  // The same over memory of somebody else, which `owner` keeps.
  FlatIndex(std::shared_ptr<const void> owner, const float* vectors, std::size_t size, std::size_t dim,
            const ScanKernel& kernel = scan_kernel());

  // Over vectors and their codes, both as another index of this class has them. Damaged codes give wrong results, and
  // no fault.
  FlatIndex(std::shared_ptr<const void> owner, const float* vectors, std::size_t size, std::size_t dim,
            const CodeArrays& arrays, const ScanKernel& kernel = scan_kernel());

  FlatIndex(const FlatIndex&) = delete;
  FlatIndex& operator=(const FlatIndex&) = delete;

  std::size_t size() const { return size_; }
  std::size_t dim() const { return dim_; }
  // Of vectors and codes, whoever owns them.
  std::size_t bytes() const;
  const char* kernel() const { return kernel_->name; }
  const float* vectors() const { return vectors_; }
  const CodeArrays& arrays() const { return arrays_; }
  std::size_t blocks() const { return blocks_of(size_); }
  std::size_t groups() const { return groups_of(dim_); }

  // Row i of `positions` and `scores` [count, k] holds the best positions of query i, best first, equal scores by
  // position. Where fewer than k are eligible, the rest is position -1, score -infinity. Throws std::invalid_argument
  // for a query that is not finite or longer than 1e18, and as check_bonus.
  void search(const SearchRequest& request, std::int64_t* positions, float* scores) const;

 private:
  struct Chunk;

  // The largest of a chunk of items.
  struct Slack {
    float error;
    float norm;
  };

  void note_slack();
  void sift(Range range, TopSearch* const* queries, std::size_t count, Range coming) const;
  void take_sifted(const Chunk* const* chunks, std::uint16_t* masks, const std::int32_t* dots,
                   TopSearch* const* queries, std::size_t count) const;
  void scan(Range range, TopSearch& query) const;
  void offer(std::size_t item, std::int32_t dot, const float* bonus, TopSearch& query) const;

  std::size_t size_;
  std::size_t dim_;
  const ScanKernel* kernel_;
  std::shared_ptr<const void> owner_;  // Of what is not owned here.
  std::vector<float> copied_;
  const float* vectors_;  // [size, dim]
  VectorCodes encoded_;
  CodeArrays arrays_;
  std::vector<Slack> slack_;  // By chunk.
};

// The exact answer from the float vectors [size, dim] alone: slow, and what indexes are compared with.
void search_vectors(const float* vectors, std::size_t size, std::size_t dim, const SearchRequest& request,
                    std::int64_t* positions, float* scores);

}  // namespace rowbank
