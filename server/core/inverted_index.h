// An index of vectors in lists around centroids, of which a search reads only the promising ones.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "flat_scan.h"
#include "top_search.h"
#include "vector_codes.h"

namespace rowbank {

// How the vectors are sorted into lists. Lists lie one after another in blocks of 16 slots, each starting a block.
struct InvertedLists {
  std::vector<float> centroids;          // [lists, dim]: the mean of a list's vectors.
  std::vector<float> radii;              // [lists]: the largest distance of one of them from it, rounded up.
  std::vector<float> spreads;            // [lists]: their root mean square distance, per dimension.
  std::vector<std::uint32_t> starts;     // [lists + 1]: first block.
  std::vector<std::uint32_t> positions;  // [starts.back() * 16]: of the vector in a slot, or kNoPosition.
};

// Sorts vectors [size, dim] into lists. Deterministic, whatever the number of threads. Throws as train_clusters.
InvertedLists make_lists(const float* vectors, std::size_t size, std::size_t dim, std::size_t lists, std::uint64_t seed,
                         std::size_t threads);

// An InvertedLists and its codes, in memory of somebody else.
struct InvertedArrays {
  std::size_t lists;
  const float* centroids;
  const float* radii;
  const float* spreads;
  const std::uint32_t* starts;
  const std::uint32_t* positions;
  CodeArrays codes;  // Of the slots.
};

// How much of the index one search reads.
struct ProbeRule {
  std::size_t lists;  // At least so many lists are looked at,
  std::size_t rows;   // and as many more as it takes to see so many eligible vectors.
};

// Finds the best k, or nearly. Lists are read in the order of what the best of their items may score - the centroid's
// score and what the list is spread by - until ProbeRule is kept; lists that provably hold none of the best are passed
// over, and when no others are left the answer is exact. What is found in the lists that were read is exact, scores
// always are. Where few positions are eligible all of them are scored, and a rule that takes all lists makes the search
// an exact one. A bonus is exact, too: those who have one are scored first, unless they are many; then everything is
// read.
//
// Immutable; any number of threads may search.
class InvertedIndex {
 public:
  // Over arrays of others, which `owner` keeps. Damaged ones give wrong results and no fault, except that `starts` must
  // rise from 0 and be the length of the others; std::invalid_argument if it is not, for a dim out of range, or for
  // a centroid, radius or spread that is not finite.
  InvertedIndex(std::shared_ptr<const void> owner, const float* vectors, std::size_t size, std::size_t dim,
                const InvertedArrays& arrays, const ScanKernel& kernel = scan_kernel());

  InvertedIndex(const InvertedIndex&) = delete;
  InvertedIndex& operator=(const InvertedIndex&) = delete;

  std::size_t size() const { return size_; }
  std::size_t dim() const { return dim_; }
  std::size_t lists() const { return arrays_.lists; }
  std::size_t blocks() const { return arrays_.starts[arrays_.lists]; }
  std::size_t groups() const { return groups_of(dim_); }
  std::size_t bytes() const;
  const char* kernel() const { return kernel_->name; }
  const float* vectors() const { return vectors_; }
  const InvertedArrays& arrays() const { return arrays_; }

  // As FlatIndex::search.
  void search(const SearchRequest& request, const ProbeRule& rule, std::int64_t* positions, float* scores) const;

 private:
  struct Order;

  void probe(TopSearch& query, const ProbeRule& rule) const;
  std::size_t scan(std::size_t first_block, std::size_t last_block, bool with_bonus, TopSearch& query) const;

  std::size_t size_;
  std::size_t dim_;
  const ScanKernel* kernel_;
  std::shared_ptr<const void> owner_;
  const float* vectors_;
  InvertedArrays arrays_;
  VectorCodes centroid_codes_;
  std::vector<std::uint32_t> centroid_blocks_;  // 0, 1, 2, ...
};

}  // namespace rowbank
