// Types that row values can have, stored or on their way in and out. Optimizer state is always float32.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include "int8_rows.h"
#include "kernels.h"

namespace rowbank {

// Rows are stored and written as one of the first three; kInt8 is what reads may be answered in, see int8_rows.h.
enum class DType : std::uint8_t { kFloat32, kFloat16, kBFloat16, kInt8 };

// REQUIRES: not kInt8, whose rows have a scale.
inline std::size_t dtype_bytes(DType type) {
  return type == DType::kFloat32 ? 4 : 2;
}

inline std::size_t row_bytes(DType type, std::size_t dim) {
  return type == DType::kInt8 ? int8_row_bytes(dim) : dim * dtype_bytes(type);
}

// Whether none of `count` numbers is NaN or infinite. REQUIRES: not kInt8, which nobody sends.
bool all_finite(DType type, const void* data, std::size_t count);

// Throws std::invalid_argument for anything but "float32", "float16" and "bfloat16".
DType parse_dtype(const std::string& name);
const char* dtype_name(DType type);

inline void to_float(DType from, const void* in, float* out, std::size_t n) {
  switch (from) {
    case DType::kFloat32:
      std::memcpy(out, in, n * sizeof(float));
      return;
    case DType::kFloat16:
      kernels().half_to_float(static_cast<const std::uint16_t*>(in), out, n);
      return;
    case DType::kBFloat16:
      kernels().bfloat_to_float(static_cast<const std::uint16_t*>(in), out, n);
      return;
    case DType::kInt8:
      int8_row_to_float(static_cast<const char*>(in), out, n);
      return;
  }
}

inline void from_float(DType to, const float* in, void* out, std::size_t n) {
  switch (to) {
    case DType::kFloat32:
      std::memcpy(out, in, n * sizeof(float));
      return;
    case DType::kFloat16:
      kernels().float_to_half(in, static_cast<std::uint16_t*>(out), n);
      return;
    case DType::kBFloat16:
      kernels().float_to_bfloat(in, static_cast<std::uint16_t*>(out), n);
      return;
    case DType::kInt8:
      float_to_int8_row(in, static_cast<char*>(out), n);
      return;
  }
}

// One row. `scratch` [n] is used when neither side is float32 and the types differ.
inline void convert(DType from, const void* in, DType to, void* out, std::size_t n, float* scratch) {
  if (from == to) {
    std::memcpy(out, in, row_bytes(from, n));
  } else if (to == DType::kFloat32) {
    to_float(from, in, static_cast<float*>(out), n);
  } else if (from == DType::kFloat32) {
    from_float(to, static_cast<const float*>(in), out, n);
  } else {
    to_float(from, in, scratch, n);
    from_float(to, scratch, out, n);
  }
}

}  // namespace rowbank
