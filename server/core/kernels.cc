#include "kernels.h"

#include <cstring>
#include <initializer_list>

namespace rowbank {

namespace baseline {
extern const Kernels kTable;
}
#ifdef ROWBANK_X86_VARIANTS
namespace avx2 {
extern const Kernels kTable;
}
namespace avx512 {
extern const Kernels kTable;
}
#endif

namespace {

const Kernels& choose() {
  for (const char* name : {"avx512", "avx2"}) {
    if (const Kernels* named = kernels_named(name)) {
      return *named;
    }
  }
  return baseline::kTable;
}

}  // namespace

const Kernels* kernels_named(const char* name) {
  if (std::strcmp(name, "baseline") == 0) {
    return &baseline::kTable;
  }
#ifdef ROWBANK_X86_VARIANTS
  if (std::strcmp(name, "avx2") == 0 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c")) {
    return &avx2::kTable;
  }
  if (std::strcmp(name, "avx512") == 0 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    return &avx512::kTable;
  }
#endif
  return nullptr;
}

const Kernels& kernels() {
  static const Kernels& chosen = choose();
  return chosen;
}

}  // namespace rowbank
