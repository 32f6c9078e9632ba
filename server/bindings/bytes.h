// Python's bytes and views of them.
#pragma once

#include <nanobind/nanobind.h>

#include <string_view>

namespace rowbank::python {

inline nanobind::bytes bytes_of(std::string_view data) {
  return nanobind::bytes(data.data(), data.size());
}

// As long as `data` lives.
inline std::string_view view_of(const nanobind::bytes& data) {
  return {data.c_str(), data.size()};
}

}  // namespace rowbank::python
