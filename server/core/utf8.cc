#include "utf8.h"

#include <cstddef>
#include <cstdint>

namespace rowbank {

bool is_utf8(std::string_view bytes) {
  const auto* at = reinterpret_cast<const std::uint8_t*>(bytes.data());
  const auto* end = at + bytes.size();
  while (at < end) {
    const std::uint8_t first = *at++;
    if (first < 0x80) continue;
    // How many bytes follow, and what the first of them must lie within.
    std::ptrdiff_t more = 0;
    std::uint8_t low = 0x80;
    std::uint8_t high = 0xBF;
    if (first >= 0xC2 && first <= 0xDF) {
      more = 1;
    } else if (first >= 0xE0 && first <= 0xEF) {
      more = 2;
      low = first == 0xE0 ? 0xA0 : low;
      high = first == 0xED ? 0x9F : high;
    } else if (first >= 0xF0 && first <= 0xF4) {
      more = 3;
      low = first == 0xF0 ? 0x90 : low;
      high = first == 0xF4 ? 0x8F : high;
    } else {
      return false;
    }
    if (end - at < more || *at < low || *at > high) return false;
    for (++at; --more > 0; ++at) {
      if ((*at & 0xC0) != 0x80) return false;
    }
  }
  return true;
}

}  // namespace rowbank
