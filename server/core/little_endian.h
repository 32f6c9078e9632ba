// Numbers as they are stored: little-endian, as the machines are that this runs on.
#pragma once

#include <cstddef>
#include <cstring>
#include <string>
#include <string_view>

namespace rowbank {

template <typename Number>
void append_number(std::string* out, Number number) {
  char bytes[sizeof number];
  std::memcpy(bytes, &number, sizeof number);
  out->append(bytes, sizeof number);
}

template <typename Number>
Number read_number(std::string_view bytes, std::size_t at) {
  Number number;
  std::memcpy(&number, bytes.data() + at, sizeof number);
  return number;
}

}  // namespace rowbank
