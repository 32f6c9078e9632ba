#include "top_search.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>

namespace rowbank {
namespace {

// Bounds are computed in float32 in a handful of operations, each off by at most 2^-24 of the magnitudes involved.
constexpr double kRounding = 1.0 / (1 << 18);
constexpr float kUnderflow = 1e-36F;  // More than products of tiny scales lose by flushing towards zero.
constexpr float kMaxBonus = 1e18F;
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr std::size_t kAhead = 8;  // Vectors that are fetched while others are scored.

struct Scored {
  double score;
  std::uint32_t position;
  bool operator<(const Scored& other) const {
    return score != other.score ? score > other.score : position < other.position;
  }
};

// Of at least one value, as bits without the sign, which order like the values; not-a-numbers are the largest.
std::int32_t largest_size(const float* values, std::size_t count) {
  std::int32_t largest = 0;
  for (std::size_t i = 0; i < count; ++i) {
    std::int32_t bits = 0;
    std::memcpy(&bits, values + i, 4);
    bits &= 0x7FFFFFFF;
    largest = bits > largest ? bits : largest;
  }
  return largest;
}

}  // namespace

void check_bonus(const SearchRequest& request, std::size_t size) {
  std::int32_t most = 0;
  std::memcpy(&most, &kMaxBonus, 4);
  for (std::size_t query = 0; query < request.count; ++query) {
    const float* bonus = request.bonus_of(query);
    if (bonus == nullptr || largest_size(bonus, size) <= most) continue;
    const float* wrong =
        std::find_if(bonus, bonus + size, [](float value) { return !(std::fabs(value) <= kMaxBonus); });
    throw std::invalid_argument("the bonus of query " + std::to_string(query) + " at position " +
                                std::to_string(wrong - bonus) + " is not finite or larger than 1e18");
  }
}

TopSearch::TopSearch(const SearchRequest& request, std::size_t index, const ScoredVectors& items,
                     const ScanKernel& kernel)
    : items_(items),
      kernel_(&kernel),
      values_(request.queries + index * items.dim),
      exclude_(request.exclude_of(index)),
      bonus_(request.bonus_of(index)),
      wanted_(std::min(request.k, items.size)) {
  codes_.assign(4 * groups_of(items.dim), 0);
  const Encoded encoded = encode_vector(values_, items.dim, codes_.data(), "query", index);
  length_ = encoded.length;
  bounds_.scale = encoded.scale;
  bounds_.error_gain = round_up(encoded.length * (1 + kRounding));
  bounds_.norm_gain = round_up((encoded.error + kRounding * encoded.norm) * (1 + kRounding));
  lower_.reserve(wanted_);
}

std::size_t TopSearch::eligible() const {
  if (exclude_ == nullptr) return items_.size;
  const std::size_t whole = items_.size / 8;
  std::size_t excluded = kernel_->ones(exclude_, whole);
  if (items_.size % 8 != 0) {
    const unsigned last = exclude_[whole] & ((1U << (items_.size % 8)) - 1);
    excluded += static_cast<std::size_t>(__builtin_popcount(last));
  }
  return items_.size - excluded;
}

void TopSearch::offer(std::uint32_t position, ScoreRange range) {
  if (wanted_ == 0) return;
  candidates_.push_back({position, range.upper});
  if (lower_.size() < wanted_) {
    lower_.push_back(range.lower);
    std::push_heap(lower_.begin(), lower_.end(), std::greater<>());
  } else if (range.lower > lower_.front()) {
    std::pop_heap(lower_.begin(), lower_.end(), std::greater<>());
    lower_.back() = range.lower;
    std::push_heap(lower_.begin(), lower_.end(), std::greater<>());
  }
  if (lower_.size() == wanted_) threshold_ = lower_.front() - kUnderflow;
}

double TopSearch::exact_score(std::size_t position) const {
  const double dot = kernel_->score(values_, items_.vectors + position * items_.dim, items_.dim);
  return bonus_ == nullptr ? dot : dot + static_cast<double>(bonus_[position]);
}

void TopSearch::score(std::uint32_t position) {
  const auto score = static_cast<float>(exact_score(position));
  const ScoreRange range{std::nextafter(score, -kInfinity), std::nextafter(score, kInfinity)};
  if (range.upper >= threshold_) offer(position, range);
}

void TopSearch::fetch(std::size_t position) const {
  const auto* row = reinterpret_cast<const char*>(items_.vectors + position * items_.dim);
  const std::size_t bytes = std::min<std::size_t>(items_.dim * sizeof(float), 512);
  for (std::size_t at = 0; at < bytes; at += 64) __builtin_prefetch(row + at);
}

void TopSearch::score_eligible() {
  std::uint32_t waiting[kAhead];
  std::size_t count = 0;  // Of all that were found so far.
  const auto take = [&](std::size_t position) {
    fetch(position);
    if (count >= kAhead) score(waiting[count % kAhead]);
    waiting[count++ % kAhead] = static_cast<std::uint32_t>(position);
  };
  if (exclude_ == nullptr) {
    for (std::size_t position = 0; position < items_.size; ++position) take(position);
  } else {
    std::size_t first = 0;
    for (; first + 64 <= items_.size; first += 64) {
      std::uint64_t bits = 0;
      std::memcpy(&bits, exclude_ + first / 8, 8);
      for (bits = ~bits; bits != 0; bits &= bits - 1) take(first + static_cast<std::size_t>(__builtin_ctzll(bits)));
    }
    for (; first < items_.size; ++first) {
      if (!excluded(first)) take(first);
    }
  }
  for (std::size_t i = count < kAhead ? 0 : count - kAhead; i < count; ++i) score(waiting[i % kAhead]);
}

void TopSearch::finish(std::size_t k, std::int64_t* positions, float* scores) const {
  std::vector<std::uint32_t> left;
  left.reserve(2 * wanted_);
  for (const Candidate& candidate : candidates_) {
    if (candidate.upper >= threshold_) left.push_back(candidate.position);
  }
  std::vector<Scored> best;
  best.reserve(left.size());
  for (std::size_t i = 0; i < left.size(); ++i) {
    if (i + kAhead < left.size()) fetch(left[i + kAhead]);
    best.push_back({exact_score(left[i]), left[i]});
  }
  const std::size_t found = std::min(k, best.size());
  std::partial_sort(best.begin(), best.begin() + static_cast<std::ptrdiff_t>(found), best.end());
  for (std::size_t i = 0; i < k; ++i) {
    positions[i] = i < found ? static_cast<std::int64_t>(best[i].position) : -1;
    scores[i] = i < found ? static_cast<float>(best[i].score) : -kInfinity;
  }
}

}  // namespace rowbank
