#include "kernels.h"

#include <cstring>
#include <initializer_list>

#ifdef ROWBANK_X86_VARIANTS
#include <cpuid.h>
#endif

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

#ifdef ROWBANK_X86_VARIANTS
// Asked of the CPU itself: older Clangs do not know the name for __builtin_cpu_supports, which vouches for the
// operating system's part by way of AVX2.
bool has_f16c() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}
#endif

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
  if (std::strcmp(name, "avx2") == 0 && __builtin_cpu_supports("avx2") && has_f16c()) {
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
