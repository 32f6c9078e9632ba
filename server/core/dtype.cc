#include "dtype.h"

#include <stdexcept>

namespace rowbank {

DType parse_dtype(const std::string& name) {
  for (const DType type : {DType::kFloat32, DType::kFloat16, DType::kBFloat16}) {
    if (name == dtype_name(type)) {
      return type;
    }
  }
  throw std::invalid_argument("value_dtype must be float32, float16 or bfloat16, got '" + name + "'");
}

bool all_finite(DType type, const void* data, std::size_t count) {
  switch (type) {
    case DType::kFloat32:
      return kernels().all_finite_float(static_cast<const float*>(data), count);
    case DType::kFloat16:
      return kernels().all_finite_16(static_cast<const std::uint16_t*>(data), count, 0x7C00);
    case DType::kBFloat16:
      return kernels().all_finite_16(static_cast<const std::uint16_t*>(data), count, 0x7F80);
    case DType::kInt8:
      break;
  }
  return false;
}

const char* dtype_name(DType type) {
  switch (type) {
    case DType::kFloat32:
      return "float32";
    case DType::kFloat16:
      return "float16";
    case DType::kBFloat16:
      return "bfloat16";
    case DType::kInt8:
      return "int8";
  }
  return "";
}

}  // namespace rowbank
