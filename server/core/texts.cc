#include "texts.h"

#include <bit>
#include <cstring>

#include "hash.h"

namespace rowbank {

bool are_ends(const std::int64_t* ends, std::size_t count, std::size_t bytes) {
  std::int64_t before = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (ends[i] < before) return false;
    before = ends[i];
  }
  return static_cast<std::size_t>(before) <= bytes;
}

Texts take_texts(const TextSpan& texts, const std::int64_t* places, std::size_t count) {
  Texts out;
  out.ends.resize(count);
  std::int64_t total = 0;
  for (std::size_t i = 0; i < count; ++i) {
    total += static_cast<std::int64_t>(texts.at(static_cast<std::size_t>(places[i])).size());
    out.ends[i] = total;
  }
  out.data.resize(static_cast<std::size_t>(total));
  std::uint8_t* to = out.data.data();
  for (std::size_t i = 0; i < count; ++i) {
    const std::string_view text = texts.at(static_cast<std::size_t>(places[i]));
    if (!text.empty()) std::memcpy(to, text.data(), text.size());
    to += text.size();
  }
  return out;
}

DistinctTexts distinct_texts(const TextSpan& texts) {
  DistinctTexts out;
  out.codes.resize(texts.count);
  // Open addressing: codes + 1, 0 is free. At most half full.
  const std::size_t slots = std::bit_ceil(2 * texts.count + 2);
  std::vector<std::int32_t> table(slots, 0);
  for (std::size_t i = 0; i < texts.count; ++i) {
    const std::string_view text = texts.at(i);
    std::size_t slot = mix64(fnv1a64(text)) & (slots - 1);
    while (table[slot] != 0 && texts.at(static_cast<std::size_t>(out.firsts[table[slot] - 1])) != text) {
      slot = (slot + 1) & (slots - 1);
    }
    if (table[slot] == 0) {
      out.firsts.push_back(static_cast<std::int64_t>(i));
      table[slot] = static_cast<std::int32_t>(out.firsts.size());
    }
    out.codes[i] = table[slot] - 1;
  }
  return out;
}

}  // namespace rowbank
