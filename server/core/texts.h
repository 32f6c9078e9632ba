// Many texts, one after the other in one array, with where each of them ends in another.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace rowbank {

struct TextSpan {
  const std::uint8_t* data;
  const std::int64_t* ends;
  std::size_t count;

  std::string_view at(std::size_t place) const {
    const std::int64_t start = place == 0 ? 0 : ends[place - 1];
    return {reinterpret_cast<const char*>(data) + start, static_cast<std::size_t>(ends[place] - start)};
  }
};

struct Texts {
  std::vector<std::uint8_t> data;
  std::vector<std::int64_t> ends;
};

// Whether the ends lie within `bytes` and never fall, as those of texts in a file may not.
bool are_ends(const std::int64_t* ends, std::size_t count, std::size_t bytes);

// Those at `places`, in their order. REQUIRES: each place is below the count.
Texts take_texts(const TextSpan& texts, const std::int64_t* places, std::size_t count);

// A number for each text, the same for equal ones, counted from 0 in the order in which they come first; and where
// each of these comes first.
struct DistinctTexts {
  std::vector<std::int32_t> codes;
  std::vector<std::int64_t> firsts;
};
DistinctTexts distinct_texts(const TextSpan& texts);

}  // namespace rowbank
