#include "select.h"

#include <algorithm>
#include <iterator>
#include <vector>

namespace rowbank {
namespace {

using Values = std::span<const std::uint64_t>;

constexpr std::size_t kSample = 1024;
constexpr std::size_t kMargin = 64;  // At least four standard deviations of a quantile's place in the sample.
constexpr std::size_t kFew = 4 * kSample;

struct Pivots {
  std::uint64_t low;
  std::uint64_t high;
};

// Two of the values that most likely have the n-th smallest between them.
Pivots choose_pivots(Values values, std::size_t n) {
  std::vector<std::uint64_t> sample(kSample);
  const std::size_t step = values.size() / kSample;
  for (std::size_t i = 0; i < kSample; ++i) {
    sample[i] = values[i * step];
  }
  std::sort(sample.begin(), sample.end());
  const auto at = static_cast<std::size_t>(static_cast<double>(n) / static_cast<double>(values.size()) * kSample);
  return {sample[at > kMargin ? at - kMargin : 0], sample[std::min(at + kMargin, kSample - 1)]};
}

Selected nth_of_few(Values values, std::size_t n) {
  std::vector<std::uint64_t> sorted(values.begin(), values.end());
  std::sort(sorted.begin(), sorted.end());
  const auto [first, last] = std::equal_range(sorted.begin(), sorted.end(), sorted[n]);
  return {sorted[n], static_cast<std::size_t>(first - sorted.begin()), static_cast<std::size_t>(last - first)};
}

// The n-th smallest of a part of the values, given how many values are below all of the part.
Selected nth_of_part(Values part, std::size_t n, std::size_t below) {
  Selected selected = nth_smallest(part, n - below);
  selected.below += below;
  return selected;
}

template <typename Wanted>
std::vector<std::uint64_t> those(Values values, Wanted wanted) {
  std::vector<std::uint64_t> chosen;
  std::copy_if(values.begin(), values.end(), std::back_inserter(chosen), wanted);
  return chosen;
}

}  // namespace

Selected nth_smallest(Values values, std::size_t n) {
  if (values.size() <= kFew) {
    return nth_of_few(values, n);
  }
  const auto [low, high] = choose_pivots(values, n);
  std::size_t below_low = 0;
  std::size_t equal_low = 0;
  std::size_t equal_high = 0;
  std::vector<std::uint64_t> between;
  for (const std::uint64_t value : values) {
    below_low += static_cast<std::size_t>(value < low);
    equal_low += static_cast<std::size_t>(value == low);
    equal_high += static_cast<std::size_t>(value == high);
    if (value > low && value < high) {
      between.push_back(value);
    }
  }
  const std::size_t up_to_low = below_low + equal_low;
  const std::size_t below_high = up_to_low + between.size();
  if (n < below_low) {
    return nth_of_part(those(values, [low = low](std::uint64_t value) { return value < low; }), n, 0);
  }
  if (n < up_to_low) {
    return {low, below_low, equal_low};
  }
  if (n < below_high) {
    return nth_of_part(between, n, up_to_low);
  }
  if (n < below_high + equal_high) {
    return {high, below_high, equal_high};
  }
  return nth_of_part(those(values, [high = high](std::uint64_t value) { return value > high; }), n,
                     below_high + equal_high);
}

}  // namespace rowbank
