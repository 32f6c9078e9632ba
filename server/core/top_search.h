// The search for the k best of one query, from bounds of scores: what all indexes share.
//
// Problem: a float32 scan of N vectors is bound by memory and arithmetic, while 8-bit codes are a quarter of the bytes
// and one instruction multiplies 64 of them. But codes are not the vectors: asking them for "twice as many as wanted"
// finds the best only with luck. Idea: the codes give each score with an error that can be bounded. With v = v' + e (v'
// the decoded item) and q = q' + f, the true score is v'.q' + v'.f + e.q, hence within |v'||f| + |e||q| of v'.q'. An
// item can be among the best k only if its upper bound reaches the k-th largest lower bound. Those few, about twice k
// on real vectors, are scored again from the float32 vectors in double precision. Cost grows only where many scores lie
// within the bound: the result stays exact there and the rerank gets longer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "flat_scan.h"
#include "vector_codes.h"

namespace rowbank {

// The float vectors [size, dim] that are searched.
struct ScoredVectors {
  const float* vectors;
  std::size_t size;
  std::size_t dim;
};

// One call: `count` queries [count, dim]; bitmaps `exclude_stride` bytes apart (0: the same for all) of ceil(size / 8)
// bytes, least significant bit first, a set bit takes its position out; `bonus` null or one pointer per query to [size]
// floats, which may be null.
struct SearchRequest {
  const float* queries;
  std::size_t count;
  std::size_t k;
  const std::uint8_t* exclude = nullptr;
  std::size_t exclude_stride = 0;
  const float* const* bonus = nullptr;

  const std::uint8_t* exclude_of(std::size_t query) const {
    return exclude == nullptr ? nullptr : exclude + query * exclude_stride;
  }
  const float* bonus_of(std::size_t query) const { return bonus == nullptr ? nullptr : bonus[query]; }
};

// Throws std::invalid_argument for a bonus that is not finite or larger than 1e18, naming the query and the position.
void check_bonus(const SearchRequest& request, std::size_t size);

class TopSearch {
 public:
  // Of query `index` of `request`. Throws as encode_vector.
  TopSearch(const SearchRequest& request, std::size_t index, const ScoredVectors& items, const ScanKernel& kernel);

  const float* values() const { return values_; }
  const std::int8_t* codes() const { return codes_.data(); }
  const ScanBounds& bounds() const { return bounds_; }
  double length() const { return length_; }
  const std::uint8_t* exclude() const { return exclude_; }
  const float* bonus() const { return bonus_; }
  // What an upper bound must reach; -infinity until k candidates are known.
  float threshold() const { return threshold_; }
  bool excluded(std::size_t position) const {
    return exclude_ != nullptr && ((exclude_[position >> 3] >> (position & 7)) & 1) != 0;
  }
  // How many positions are not excluded.
  std::size_t eligible() const;

  void offer(std::uint32_t position, ScoreRange range);
  // Scores all eligible positions from the float vectors, and nothing else.
  void score_eligible();
  // Scores one position from its float vector and offers it.
  void score(std::uint32_t position);

  // Writes the best of what was offered: k positions, best first, equal scores by position, and their scores; -1 and
  // -infinity where there are fewer.
  void finish(std::size_t k, std::int64_t* positions, float* scores) const;

 private:
  struct Candidate {
    std::uint32_t position;
    float upper;
  };

  double exact_score(std::size_t position) const;
  // Asks for a vector ahead of its use.
  void fetch(std::size_t position) const;

  const ScoredVectors items_;
  const ScanKernel* kernel_;
  const float* values_;
  const std::uint8_t* exclude_;
  const float* bonus_;
  std::size_t wanted_;
  std::vector<std::int8_t> codes_;  // 4 * groups.
  ScanBounds bounds_;
  double length_ = 0;
  std::vector<float> lower_;  // A min-heap of the `wanted` largest lower bounds.
  float threshold_ = -std::numeric_limits<float>::infinity();
  std::vector<Candidate> candidates_;
};

}  // namespace rowbank
