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
