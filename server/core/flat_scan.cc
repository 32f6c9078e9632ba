#include "flat_scan.h"

#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace rowbank {
namespace {

unsigned excluded_bits(const std::uint8_t* exclude, std::size_t block) {
  if (exclude == nullptr) return 0;
  return static_cast<unsigned>(exclude[2 * block]) | (static_cast<unsigned>(exclude[2 * block + 1]) << 8);
}

void dot_scalar(const std::uint8_t* codes, std::size_t blocks, std::size_t groups, const std::int8_t* query,
                std::int32_t* dots) {
  for (std::size_t block = 0; block < blocks; ++block) {
    std::int32_t* out = dots + block * kScanBlock;
    for (std::size_t i = 0; i < kScanBlock; ++i) out[i] = 0;
    for (std::size_t group = 0; group < groups; ++group, codes += 4 * kScanBlock) {
      for (std::size_t i = 0; i < 4 * kScanBlock; ++i) {
        out[i / 4] += (static_cast<std::int32_t>(codes[i]) - 128) * query[4 * group + i % 4];
      }
    }
  }
}

std::size_t filter_scalar(const std::int32_t* dots, std::size_t blocks, const ItemColumns& items,
                          const ScanBounds& bounds, float threshold, const std::uint8_t* exclude, std::uint32_t* hits) {
  std::size_t count = 0;
  for (std::size_t block = 0; block < blocks; ++block) {
    const unsigned excluded = excluded_bits(exclude, block);
    for (std::size_t i = 0; i < kScanBlock; ++i) {
      const std::size_t item = block * kScanBlock + i;
      const float upper = upper_bound(dots[item], items.scale[item], items.error[item], items.norm[item], bounds);
      if (upper >= threshold && ((excluded >> i) & 1u) == 0) hits[count++] = static_cast<std::uint32_t>(item);
    }
  }
  return count;
}

constexpr ScanKernel kScalar{"scalar", dot_scalar, filter_scalar};

#if defined(__x86_64__)

// 4 codes of the query as one lane.
std::int32_t lane(const std::int8_t* query, std::size_t group) {
  std::int32_t bits = 0;
  std::memcpy(&bits, query + 4 * group, 4);
  return bits;
}

// An unsigned times signed multiply-add saturates at 16 bits. With |item| as the unsigned operand and the query
// carrying the item's sign, the sum of two products is at most 2 * 127 * 127, which fits.
__attribute__((target("avx2"))) void dot_avx2(const std::uint8_t* codes, std::size_t blocks, std::size_t groups,
                                              const std::int8_t* query, std::int32_t* dots) {
  const __m256i bias = _mm256_set1_epi8(static_cast<char>(0x80));
  const __m256i ones = _mm256_set1_epi16(1);
  for (std::size_t block = 0; block < blocks; ++block) {
    __m256i low = _mm256_setzero_si256();
    __m256i high = _mm256_setzero_si256();
    for (std::size_t group = 0; group < groups; ++group, codes += 4 * kScanBlock) {
      const __m256i wanted = _mm256_set1_epi32(lane(query, group));
      const auto* in = reinterpret_cast<const __m256i*>(codes);
      const __m256i first = _mm256_xor_si256(_mm256_loadu_si256(in), bias);
      const __m256i second = _mm256_xor_si256(_mm256_loadu_si256(in + 1), bias);
      const __m256i first16 = _mm256_maddubs_epi16(_mm256_abs_epi8(first), _mm256_sign_epi8(wanted, first));
      const __m256i second16 = _mm256_maddubs_epi16(_mm256_abs_epi8(second), _mm256_sign_epi8(wanted, second));
      low = _mm256_add_epi32(low, _mm256_madd_epi16(first16, ones));
      high = _mm256_add_epi32(high, _mm256_madd_epi16(second16, ones));
    }
    auto* out = reinterpret_cast<__m256i*>(dots + block * kScanBlock);
    _mm256_storeu_si256(out, low);
    _mm256_storeu_si256(out + 1, high);
  }
}

__attribute__((target("avx2"))) __m256 upper_avx2(const std::int32_t* dots, const ItemColumns& items, std::size_t item,
                                                  const ScanBounds& bounds) {
  const __m256 scale = _mm256_mul_ps(_mm256_loadu_ps(items.scale + item), _mm256_set1_ps(bounds.scale));
  const __m256i dot = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(dots + item));
  const __m256 estimate = _mm256_mul_ps(_mm256_cvtepi32_ps(dot), scale);
  const __m256 error = _mm256_mul_ps(_mm256_loadu_ps(items.error + item), _mm256_set1_ps(bounds.error_gain));
  const __m256 norm = _mm256_mul_ps(_mm256_loadu_ps(items.norm + item), _mm256_set1_ps(bounds.norm_gain));
  return _mm256_add_ps(estimate, _mm256_add_ps(error, norm));
}

__attribute__((target("avx2"))) std::size_t filter_avx2(const std::int32_t* dots, std::size_t blocks,
                                                        const ItemColumns& items, const ScanBounds& bounds,
                                                        float threshold, const std::uint8_t* exclude,
                                                        std::uint32_t* hits) {
  const __m256 least = _mm256_set1_ps(threshold);
  std::size_t count = 0;
  for (std::size_t block = 0; block < blocks; ++block) {
    const std::size_t item = block * kScanBlock;
    const __m256 low = _mm256_cmp_ps(upper_avx2(dots, items, item, bounds), least, _CMP_GE_OQ);
    const __m256 high = _mm256_cmp_ps(upper_avx2(dots, items, item + 8, bounds), least, _CMP_GE_OQ);
    unsigned mask =
        static_cast<unsigned>(_mm256_movemask_ps(low)) | (static_cast<unsigned>(_mm256_movemask_ps(high)) << 8);
    mask &= ~excluded_bits(exclude, block);
    for (; mask != 0; mask &= mask - 1) {
      hits[count++] = static_cast<std::uint32_t>(item + static_cast<unsigned>(__builtin_ctz(mask)));
    }
  }
  return count;
}

constexpr ScanKernel kAvx2{"avx2", dot_avx2, filter_avx2};

#define ROWBANK_VNNI "avx512f,avx512bw,avx512vl,avx512vnni"

// The codes carry 128 too much each; starting the sums at -128 times the query's sum takes it off again.
__attribute__((target(ROWBANK_VNNI))) void dot_avx512(const std::uint8_t* codes, std::size_t blocks, std::size_t groups,
                                                      const std::int8_t* query, std::int32_t* dots) {
  std::int32_t sum = 0;
  for (std::size_t i = 0; i < 4 * groups; ++i) sum += query[i];
  const __m512i start = _mm512_set1_epi32(-128 * sum);
  const std::size_t stride = groups * 4 * kScanBlock;
  std::size_t block = 0;
  for (; block + 4 <= blocks; block += 4) {  // Four chains hide the latency of the dot product.
    const std::uint8_t* in = codes + block * stride;
    __m512i a = start;
    __m512i b = start;
    __m512i c = start;
    __m512i d = start;
    for (std::size_t group = 0; group < groups; ++group, in += 4 * kScanBlock) {
      const __m512i wanted = _mm512_set1_epi32(lane(query, group));
      a = _mm512_dpbusd_epi32(a, _mm512_loadu_si512(in), wanted);
      b = _mm512_dpbusd_epi32(b, _mm512_loadu_si512(in + stride), wanted);
      c = _mm512_dpbusd_epi32(c, _mm512_loadu_si512(in + 2 * stride), wanted);
      d = _mm512_dpbusd_epi32(d, _mm512_loadu_si512(in + 3 * stride), wanted);
    }
    std::int32_t* out = dots + block * kScanBlock;
    _mm512_storeu_si512(out, a);
    _mm512_storeu_si512(out + kScanBlock, b);
    _mm512_storeu_si512(out + 2 * kScanBlock, c);
    _mm512_storeu_si512(out + 3 * kScanBlock, d);
  }
  for (; block < blocks; ++block) {
    const std::uint8_t* in = codes + block * stride;
    __m512i a = start;
    for (std::size_t group = 0; group < groups; ++group, in += 4 * kScanBlock) {
      a = _mm512_dpbusd_epi32(a, _mm512_loadu_si512(in), _mm512_set1_epi32(lane(query, group)));
    }
    _mm512_storeu_si512(dots + block * kScanBlock, a);
  }
}

__attribute__((target(ROWBANK_VNNI))) std::size_t filter_avx512(const std::int32_t* dots, std::size_t blocks,
                                                                const ItemColumns& items, const ScanBounds& bounds,
                                                                float threshold, const std::uint8_t* exclude,
                                                                std::uint32_t* hits) {
  const __m512 least = _mm512_set1_ps(threshold);
  const __m512 query_scale = _mm512_set1_ps(bounds.scale);
  const __m512 error_gain = _mm512_set1_ps(bounds.error_gain);
  const __m512 norm_gain = _mm512_set1_ps(bounds.norm_gain);
  std::size_t count = 0;
  for (std::size_t block = 0; block < blocks; ++block) {
    const std::size_t item = block * kScanBlock;
    const __m512 scale = _mm512_mul_ps(_mm512_loadu_ps(items.scale + item), query_scale);
    const __m512 estimate = _mm512_mul_ps(_mm512_maskz_cvtepi32_ps(0xFFFF, _mm512_loadu_si512(dots + item)), scale);
    const __m512 error = _mm512_mul_ps(_mm512_loadu_ps(items.error + item), error_gain);
    const __m512 norm = _mm512_mul_ps(_mm512_loadu_ps(items.norm + item), norm_gain);
    const __m512 upper = _mm512_add_ps(estimate, _mm512_add_ps(error, norm));
    unsigned mask = _mm512_cmp_ps_mask(upper, least, _CMP_GE_OQ);
    mask &= ~excluded_bits(exclude, block);
    for (; mask != 0; mask &= mask - 1) {
      hits[count++] = static_cast<std::uint32_t>(item + static_cast<unsigned>(__builtin_ctz(mask)));
    }
  }
  return count;
}

constexpr ScanKernel kAvx512{"avx512", dot_avx512, filter_avx512};

bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
}

#endif

}  // namespace

const ScanKernel* scan_kernel_named(const char* name) {
#if defined(__x86_64__)
  if (std::strcmp(name, kAvx512.name) == 0) return has_avx512() ? &kAvx512 : nullptr;
  if (std::strcmp(name, kAvx2.name) == 0) return __builtin_cpu_supports("avx2") ? &kAvx2 : nullptr;
#endif
  return std::strcmp(name, kScalar.name) == 0 ? &kScalar : nullptr;
}

const ScanKernel& scan_kernel() {
  static const ScanKernel* const chosen = [] {
    const ScanKernel* kernel = scan_kernel_named("avx512");
    if (kernel == nullptr) kernel = scan_kernel_named("avx2");
    return kernel == nullptr ? &kScalar : kernel;
  }();
  return *chosen;
}

}  // namespace rowbank
