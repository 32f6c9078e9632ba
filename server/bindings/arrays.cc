#include "arrays.h"

#include <stdexcept>
#include <string>

namespace rowbank::python {
namespace {

constexpr std::size_t kMaxBatch = 0xFFFFFFFEU;

template <typename Array>
std::string describe(const Array& array) {
  const nb::dlpack::dtype type = array.dtype();
  const auto code = static_cast<nb::dlpack::dtype_code>(type.code);
  std::string text = code == nb::dlpack::dtype_code::Float  ? "float"
                     : code == nb::dlpack::dtype_code::Int  ? "int"
                     : code == nb::dlpack::dtype_code::UInt ? "uint"
                     : code == nb::dlpack::dtype_code::Bool ? "bool"
                                                            : "dtype code " + std::to_string(type.code) + " of bits ";
  text += std::to_string(type.bits) + " [";
  for (std::size_t axis = 0; axis < array.ndim(); ++axis) {
    text += (axis == 0 ? "" : ", ") + std::to_string(array.shape(axis));
  }
  return text + "]";
}

template <typename Array>
bool contiguous(const Array& array) {
  std::int64_t expected = 1;
  for (std::size_t axis = array.ndim(); axis-- > 0;) {
    if (array.shape(axis) != 1 && array.stride(axis) != expected && array.size() > 0) {
      return false;
    }
    expected *= static_cast<std::int64_t>(array.shape(axis));
  }
  return true;
}

template <typename Array>
bool has_shape(const Array& array, std::initializer_list<std::size_t> shape) {
  if (array.ndim() != shape.size()) {
    return false;
  }
  std::size_t axis = 0;
  for (const std::size_t size : shape) {
    if (array.shape(axis++) != size) {
      return false;
    }
  }
  return true;
}

std::string shape_text(std::initializer_list<std::size_t> shape) {
  std::string text;
  for (const std::size_t size : shape) {
    text += (text.empty() ? "" : ", ") + std::to_string(size);
  }
  return "[" + text + "]";
}

template <typename Array>
[[noreturn]] void fail(const Array& array, const char* name, const std::string& expected) {
  throw std::invalid_argument(
      std::string(name) + ": expected " + expected + ", got " + describe(array) +
      (contiguous(array) ? "" : " that is not C-contiguous; pass numpy.ascontiguousarray(...)"));
}

template <typename T, typename Array>
void check(const Array& array, const char* name, const char* type, std::initializer_list<std::size_t> shape) {
  if (array.dtype() != nb::dtype<T>() || !has_shape(array, shape) || !contiguous(array)) {
    fail(array, name, std::string(type) + " " + shape_text(shape));
  }
}

// uint8 and bool have the same bytes.
template <typename Array>
void check_flags(const Array& array, const char* name, std::size_t rows) {
  const bool fits = array.dtype() == nb::dtype<std::uint8_t>() || array.dtype() == nb::dtype<bool>();
  if (!fits || !has_shape(array, {rows}) || !contiguous(array)) {
    fail(array, name, "uint8 or bool " + shape_text({rows}));
  }
}

template <typename Array>
DType value_type(const Array& array, const char* name, std::size_t rows, std::size_t dim) {
  const nb::dlpack::dtype half{static_cast<std::uint8_t>(nb::dlpack::dtype_code::Float), 16, 1};
  const bool is_float = array.dtype() == nb::dtype<float>();
  const bool is_half = array.dtype() == half;
  const bool is_bfloat = array.dtype() == nb::dtype<std::uint16_t>();
  if (!(is_float || is_half || is_bfloat) || !has_shape(array, {rows, dim}) || !contiguous(array)) {
    fail(array, name, "float32, float16 or uint16 (bfloat16 bits) " + shape_text({rows, dim}));
  }
  return is_float ? DType::kFloat32 : is_half ? DType::kFloat16 : DType::kBFloat16;
}

}  // namespace

KeySpan keys_of(const InArray& array) {
  if (array.dtype() != nb::dtype<std::int64_t>() || array.ndim() != 1 || !contiguous(array)) {
    fail(array, "keys", "int64 [N]");
  }
  if (array.shape(0) > kMaxBatch) {
    throw std::invalid_argument("keys: at most " + std::to_string(kMaxBatch) + " in one call, got " +
                                std::to_string(array.shape(0)));
  }
  return {static_cast<const std::int64_t*>(array.data()), array.shape(0)};
}

const std::uint32_t* counts_of(const std::optional<InArray>& array, const char* name, std::size_t rows) {
  if (!array) {
    return nullptr;
  }
  check<std::uint32_t>(*array, name, "uint32", {rows});
  return static_cast<const std::uint32_t*>(array->data());
}

const std::uint8_t* flags_of(const InArray& array, const char* name, std::size_t rows) {
  check_flags(array, name, rows);
  return static_cast<const std::uint8_t*>(array.data());
}

const float* floats_of(const InArray& array, const char* name, std::size_t rows, std::size_t columns) {
  check<float>(array, name, "float32", {rows, columns});
  return static_cast<const float*>(array.data());
}

ValuesIn values_of(const InArray& array, const char* name, std::size_t rows, std::size_t dim) {
  return {value_type(array, name, rows, dim), array.data()};
}

ValuesOut out_values_of(const OutArray& array, const char* name, std::size_t rows, std::size_t dim) {
  if (array.dtype() == nb::dtype<std::uint8_t>()) {
    check<std::uint8_t>(array, name, "uint8 (int8 rows)", {rows, int8_row_bytes(dim)});
    return {DType::kInt8, array.data()};
  }
  return {value_type(array, name, rows, dim), array.data()};
}

std::uint8_t* out_flags_of(const OutArray& array, const char* name, std::size_t rows) {
  check_flags(array, name, rows);
  return static_cast<std::uint8_t*>(array.data());
}

std::uint32_t* out_counts_of(const std::optional<OutArray>& array, const char* name, std::size_t rows) {
  if (!array) {
    return nullptr;
  }
  check<std::uint32_t>(*array, name, "uint32", {rows});
  return static_cast<std::uint32_t*>(array->data());
}

std::uint64_t* out_positions_of(const std::optional<OutArray>& array, const char* name, std::size_t rows) {
  if (!array) {
    return nullptr;
  }
  check<std::uint64_t>(*array, name, "uint64", {rows});
  return static_cast<std::uint64_t*>(array->data());
}

std::uint32_t seconds_of(std::int64_t now) {
  if (now < 0 || now > 0xFFFFFFFFLL) {
    throw std::invalid_argument("now: expected unix seconds in 0..4294967295, got " + std::to_string(now));
  }
  return static_cast<std::uint32_t>(now);
}

std::uint64_t position_of(std::uint64_t position) {
  if (position >= RowHeader::kPositionEnd) {
    throw std::invalid_argument("position: expected a number below 2^62, got " + std::to_string(position));
  }
  return position;
}

}  // namespace rowbank::python
