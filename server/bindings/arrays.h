// Checked arrays: what Python passes in is looked at, never converted or copied.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "row_table.h"

namespace rowbank::python {

namespace nb = nanobind;

using InArray = nb::ndarray<nb::ro, nb::device::cpu>;
using OutArray = nb::ndarray<nb::device::cpu>;

// Each throws std::invalid_argument (ValueError) that names the argument, what was expected and what was got.
KeySpan keys_of(const InArray& array);
const std::uint32_t* counts_of(const std::optional<InArray>& array, const char* name, std::size_t rows);
const std::uint8_t* flags_of(const InArray& array, const char* name, std::size_t rows);
const float* floats_of(const InArray& array, const char* name, std::size_t rows, std::size_t columns);
// float32, float16, or uint16 holding the bits of bfloat16; [rows, dim].
ValuesIn values_of(const InArray& array, const char* name, std::size_t rows, std::size_t dim);

ValuesOut out_values_of(const OutArray& array, const char* name, std::size_t rows, std::size_t dim);
std::uint8_t* out_flags_of(const OutArray& array, const char* name, std::size_t rows);
std::uint32_t* out_counts_of(const std::optional<OutArray>& array, const char* name, std::size_t rows);
std::uint64_t* out_positions_of(const std::optional<OutArray>& array, const char* name, std::size_t rows);

// Unix seconds as 32 bits; ValueError outside 0..2^32 - 1.
std::uint32_t seconds_of(std::int64_t now);
std::uint64_t position_of(std::uint64_t position);

// A NumPy array that owns what was in `data`.
template <typename T, typename Allocator>
nb::object owned_array(std::vector<T, Allocator>&& data, std::initializer_list<std::size_t> shape) {
  auto kept = std::make_unique<std::vector<T, Allocator>>(std::move(data));
  T* first = kept->data();
  nb::capsule owner(kept.get(), [](void* vector) noexcept { delete static_cast<std::vector<T, Allocator>*>(vector); });
  kept.release();
  return nb::cast(nb::ndarray<nb::numpy, T>(first, shape.size(), shape.begin(), owner));
}

}  // namespace rowbank::python
