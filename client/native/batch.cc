#include "batch.h"

#include <algorithm>
#include <cstring>
#include <memory>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

#include "mix.h"

namespace rowbank::client {
namespace {

constexpr std::uint32_t kEmpty = 0xFFFFFFFFU;

}  // namespace

std::size_t find_distinct(const std::int64_t* keys, std::size_t count, std::int64_t* distinct, std::uint32_t* inverse,
                          std::uint32_t* occurrences) {
  std::size_t capacity = 16;
  while (capacity < 4 * count) capacity *= 2;
  const std::size_t mask = capacity - 1;
  const std::unique_ptr<std::uint32_t[]> table(new std::uint32_t[capacity]);
  std::fill_n(table.get(), capacity, kEmpty);
  std::uint32_t found = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::int64_t key = keys[i];
    std::size_t at = mix(key) & mask;
    std::uint32_t place = table[at];
    while (place != kEmpty && distinct[place] != key) {
      at = (at + 1) & mask;
      place = table[at];
    }
    if (place == kEmpty) {
      place = found++;
      table[at] = place;
      distinct[place] = key;
      occurrences[place] = 0;
    }
    inverse[i] = place;
    ++occurrences[place];
  }
  return found;
}

bool is_inverse(const std::uint32_t* inverse, std::size_t count, std::size_t distinct_count) {
  std::uint32_t seen = 0;
  bool in_order = true;
  for (std::size_t i = 0; i < count; ++i) {
    in_order &= inverse[i] <= seen;
    seen += inverse[i] == seen;
  }
  return in_order && seen == distinct_count;
}

void sum_rows(const float* rows, const std::uint32_t* inverse, std::size_t count, std::size_t dim, float* sums) {
  std::uint32_t seen = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const float* row = rows + i * dim;
    float* sum = sums + inverse[i] * dim;
    if (inverse[i] == seen) {
      std::memcpy(sum, row, dim * sizeof(float));
      ++seen;
    } else {
      for (std::size_t d = 0; d < dim; ++d) sum[d] += row[d];
    }
  }
}

void expand_rows(const float* rows, const std::uint32_t* inverse, std::size_t count, std::size_t dim, float* out) {
  for (std::size_t i = 0; i < count; ++i) {
    std::memcpy(out + i * dim, rows + inverse[i] * dim, dim * sizeof(float));
  }
}

void int8_to_float(const std::uint8_t* rows, float* out, std::size_t count, std::size_t dim) {
  for (std::size_t i = 0; i < count; ++i) {
    float scale = 0.0F;
    std::memcpy(&scale, rows, sizeof scale);
    const auto* values = reinterpret_cast<const std::int8_t*>(rows + sizeof scale);
    for (std::size_t d = 0; d < dim; ++d) out[d] = static_cast<float>(values[d]) * scale;
    rows += sizeof scale + dim;
    out += dim;
  }
}

#if defined(__x86_64__)

// F16C is asked of the CPU itself: older Clangs do not know its name for __builtin_cpu_supports, which vouches for the
// operating system's part by way of AVX.
bool converts_half() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __builtin_cpu_supports("avx") != 0 && __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}

__attribute__((target("avx,f16c"))) void half_to_float(const std::uint16_t* in, float* out, std::size_t count) {
  std::size_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(in + i));
    _mm256_storeu_ps(out + i, _mm256_cvtph_ps(bits));
  }
  for (; i < count; ++i) out[i] = _cvtsh_ss(in[i]);
}

__attribute__((target("avx,f16c"))) void float_to_half(const float* in, std::uint16_t* out, std::size_t count) {
  std::size_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m128i bits = _mm256_cvtps_ph(_mm256_loadu_ps(in + i), _MM_FROUND_TO_NEAREST_INT);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i), bits);
  }
  for (; i < count; ++i) out[i] = _cvtss_sh(in[i], _MM_FROUND_TO_NEAREST_INT);
}

#else

bool converts_half() {
  return false;
}

void half_to_float(const std::uint16_t*, float*, std::size_t) {}
void float_to_half(const float*, std::uint16_t*, std::size_t) {}

#endif

}  // namespace rowbank::client
