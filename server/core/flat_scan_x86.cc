// AVX2 and AVX-512 VNNI.
#include "flat_scan.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include <algorithm>
#include <cstring>

namespace rowbank {
namespace {

// 4 codes of the query as one lane.
std::int32_t lane(const std::int8_t* query, std::size_t group) {
  std::int32_t bits = 0;
  std::memcpy(&bits, query + 4 * group, 4);
  return bits;
}

// An unsigned times signed multiply-add saturates at 16 bits. With |item| as the unsigned operand and the query
// carrying the item's sign, the sum of two products is at most 2 * 127 * 127, which fits.
__attribute__((target("avx2"))) void dot_avx2(const std::uint8_t* codes, const std::uint32_t* blocks, std::size_t count,
                                              std::size_t groups, const std::int8_t* query, std::int32_t* dots) {
  const __m256i bias = _mm256_set1_epi8(static_cast<char>(0x80));
  const __m256i ones = _mm256_set1_epi16(1);
  for (std::size_t block = 0; block < count; ++block) {
    const std::uint8_t* in = codes + static_cast<std::size_t>(blocks[block]) * groups * 4 * kScanBlock;
    __m256i low = _mm256_setzero_si256();
    __m256i high = _mm256_setzero_si256();
    for (std::size_t group = 0; group < groups; ++group, in += 4 * kScanBlock) {
      const __m256i wanted = _mm256_set1_epi32(lane(query, group));
      const auto* both = reinterpret_cast<const __m256i*>(in);
      const __m256i first = _mm256_xor_si256(_mm256_loadu_si256(both), bias);
      const __m256i second = _mm256_xor_si256(_mm256_loadu_si256(both + 1), bias);
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
                                                  const ScanBounds& bounds, const float* bonus) {
  const __m256 scale = _mm256_mul_ps(_mm256_loadu_ps(items.scale + item), _mm256_set1_ps(bounds.scale));
  const __m256i dot = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(dots));
  __m256 estimate = _mm256_mul_ps(_mm256_cvtepi32_ps(dot), scale);
  const __m256 error = _mm256_mul_ps(_mm256_loadu_ps(items.error + item), _mm256_set1_ps(bounds.error_gain));
  const __m256 norm = _mm256_mul_ps(_mm256_loadu_ps(items.norm + item), _mm256_set1_ps(bounds.norm_gain));
  __m256 slack = _mm256_add_ps(error, norm);
  if (bonus != nullptr) {
    const __m256 added = _mm256_loadu_ps(bonus);
    const __m256 size = _mm256_andnot_ps(_mm256_set1_ps(-0.0F), added);
    estimate = _mm256_add_ps(estimate, added);
    slack = _mm256_add_ps(slack, _mm256_mul_ps(size, _mm256_set1_ps(kBonusRounding)));
  }
  return _mm256_add_ps(estimate, slack);
}

__attribute__((target("avx2"))) std::size_t filter_avx2(const std::int32_t* dots, const ListedBlocks& listed,
                                                        const ItemColumns& items, const ScanBounds& bounds,
                                                        float threshold, std::uint32_t* hits) {
  const __m256 least = _mm256_set1_ps(threshold);
  std::size_t found = 0;
  for (std::size_t block = 0; block < listed.count; ++block) {
    const std::size_t item = static_cast<std::size_t>(listed.blocks[block]) * kScanBlock;
    const std::size_t offset = block * kScanBlock;
    const float* bonus = listed.bonus == nullptr ? nullptr : listed.bonus + offset;
    const float* bonus_high = bonus == nullptr ? nullptr : bonus + 8;
    const __m256 low = _mm256_cmp_ps(upper_avx2(dots + offset, items, item, bounds, bonus), least, _CMP_GE_OQ);
    const __m256 high =
        _mm256_cmp_ps(upper_avx2(dots + offset + 8, items, item + 8, bounds, bonus_high), least, _CMP_GE_OQ);
    unsigned mask =
        static_cast<unsigned>(_mm256_movemask_ps(low)) | (static_cast<unsigned>(_mm256_movemask_ps(high)) << 8);
    if (listed.excluded != nullptr) mask &= ~static_cast<unsigned>(listed.excluded[block]);
    for (; mask != 0; mask &= mask - 1) {
      hits[found++] = static_cast<std::uint32_t>(offset + static_cast<unsigned>(__builtin_ctz(mask)));
    }
  }
  return found;
}

// Every CPU with AVX2 counts bits in one instruction.
__attribute__((target("popcnt"))) std::size_t ones_popcnt(const std::uint8_t* bits, std::size_t bytes) {
  std::size_t ones = 0;
  std::size_t i = 0;
  for (; i + 8 <= bytes; i += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, bits + i, 8);
    ones += static_cast<std::size_t>(_mm_popcnt_u64(word));
  }
  for (; i < bytes; ++i) ones += static_cast<std::size_t>(_mm_popcnt_u32(bits[i]));
  return ones;
}

__attribute__((target("avx2"))) double score_avx2(const float* a, const float* b, std::size_t dim) {
  __m256d low = _mm256_setzero_pd();
  __m256d high = _mm256_setzero_pd();
  std::size_t i = 0;
  for (; i + 8 <= dim; i += 8) {
    const __m256d a_low = _mm256_cvtps_pd(_mm_loadu_ps(a + i));
    const __m256d a_high = _mm256_cvtps_pd(_mm_loadu_ps(a + i + 4));
    low = _mm256_add_pd(low, _mm256_mul_pd(a_low, _mm256_cvtps_pd(_mm_loadu_ps(b + i))));
    high = _mm256_add_pd(high, _mm256_mul_pd(a_high, _mm256_cvtps_pd(_mm_loadu_ps(b + i + 4))));
  }
  double sums[8];
  _mm256_storeu_pd(sums, low);
  _mm256_storeu_pd(sums + 4, high);
  for (std::size_t j = 0; i < dim; ++i, ++j) sums[j] += static_cast<double>(a[i]) * b[i];
  return add_sums(sums);
}

constexpr ScanKernel kAvx2{"avx2", dot_avx2, nullptr, filter_avx2, ones_popcnt, score_avx2};

#define ROWBANK_VNNI "avx512f,avx512bw,avx512vl,avx512vnni"
// Loops over arrays that are to be registers.
#define ROWBANK_UNROLL _Pragma("GCC unroll 8")

// The codes carry 128 too much each; starting the sums at -128 times the query's sum takes it off again.
__attribute__((target(ROWBANK_VNNI))) void dot_avx512(const std::uint8_t* codes, const std::uint32_t* blocks,
                                                      std::size_t count, std::size_t groups, const std::int8_t* query,
                                                      std::int32_t* dots) {
  std::int32_t sum = 0;
  for (std::size_t i = 0; i < 4 * groups; ++i) sum += query[i];
  const __m512i start = _mm512_set1_epi32(-128 * sum);
  const std::size_t stride = groups * 4 * kScanBlock;
  std::size_t block = 0;
  for (; block + 4 <= count; block += 4) {  // Four chains hide the latency of the dot product.
    const std::uint8_t* in_a = codes + blocks[block] * stride;
    const std::uint8_t* in_b = codes + blocks[block + 1] * stride;
    const std::uint8_t* in_c = codes + blocks[block + 2] * stride;
    const std::uint8_t* in_d = codes + blocks[block + 3] * stride;
    __m512i a = start;
    __m512i b = start;
    __m512i c = start;
    __m512i d = start;
    for (std::size_t group = 0; group < groups; ++group) {
      const std::size_t at = group * 4 * kScanBlock;
      const __m512i wanted = _mm512_set1_epi32(lane(query, group));
      a = _mm512_dpbusd_epi32(a, _mm512_loadu_si512(in_a + at), wanted);
      b = _mm512_dpbusd_epi32(b, _mm512_loadu_si512(in_b + at), wanted);
      c = _mm512_dpbusd_epi32(c, _mm512_loadu_si512(in_c + at), wanted);
      d = _mm512_dpbusd_epi32(d, _mm512_loadu_si512(in_d + at), wanted);
    }
    std::int32_t* out = dots + block * kScanBlock;
    _mm512_storeu_si512(out, a);
    _mm512_storeu_si512(out + kScanBlock, b);
    _mm512_storeu_si512(out + 2 * kScanBlock, c);
    _mm512_storeu_si512(out + 3 * kScanBlock, d);
  }
  for (; block < count; ++block) {
    const std::uint8_t* in = codes + blocks[block] * stride;
    __m512i a = start;
    for (std::size_t group = 0; group < groups; ++group, in += 4 * kScanBlock) {
      a = _mm512_dpbusd_epi32(a, _mm512_loadu_si512(in), _mm512_set1_epi32(lane(query, group)));
    }
    _mm512_storeu_si512(dots + block * kScanBlock, a);
  }
}

// The codes that come, so many lines with each group of dimensions: hardware asks ahead no further than to the end of a
// page, which is four blocks of 64 dimensions.
struct Coming {
  const std::uint8_t* next;
  std::size_t each;
};

// The sums of `Queries` queries over `Blocks` blocks stay in registers: an item's codes are loaded once for all
// queries, and a query's once for all blocks. The instruction is written out, because GCC 12 makes of the intrinsic one
// that copies each sum, and stores some, each time: a third more for the whole search.
template <std::size_t Queries, std::size_t Blocks>
__attribute__((target(ROWBANK_VNNI))) inline void sift_blocks(const Sifted& sifted, std::size_t block, Coming& coming,
                                                              const std::int32_t* start, std::uint16_t* masks,
                                                              std::int32_t* dots) {
  const SiftedQuery* queries = sifted.queries;
  const std::uint32_t* blocks = sifted.blocks + block;
  const std::uint8_t* in[Blocks];
  __m512i sums[Blocks][Queries];
  ROWBANK_UNROLL for (std::size_t b = 0; b < Blocks; ++b) {
    in[b] = sifted.codes + blocks[b] * sifted.groups * 4 * kScanBlock;
    ROWBANK_UNROLL for (std::size_t q = 0; q < Queries; ++q) sums[b][q] = _mm512_set1_epi32(start[q]);
  }
  const std::size_t groups = sifted.groups;
  for (std::size_t group = 0; group < groups; ++group) {
    for (std::size_t i = 0; i < coming.each; ++i, coming.next += 64) __builtin_prefetch(coming.next, 0, 2);
    __m512i items[Blocks];
    ROWBANK_UNROLL for (std::size_t b = 0; b < Blocks; ++b) {
      items[b] = _mm512_loadu_si512(in[b] + group * 4 * kScanBlock);
    }
    ROWBANK_UNROLL for (std::size_t q = 0; q < Queries; ++q) {
      const __m512i wanted = _mm512_set1_epi32(lane(queries[q].codes, group));
      ROWBANK_UNROLL for (std::size_t b = 0; b < Blocks; ++b) {
        asm("vpdpbusd %2, %1, %0" : "+v"(sums[b][q]) : "v"(items[b]), "v"(wanted));
      }
    }
  }
  ROWBANK_UNROLL for (std::size_t b = 0; b < Blocks; ++b) {
    const __m512 scale = _mm512_loadu_ps(sifted.scale + blocks[b] * kScanBlock);
    ROWBANK_UNROLL for (std::size_t q = 0; q < Queries; ++q) {
      const __m512 scaled = _mm512_mul_ps(_mm512_maskz_cvtepi32_ps(0xFFFF, sums[b][q]), scale);
      const unsigned mask = _mm512_cmp_ps_mask(scaled, _mm512_set1_ps(queries[q].least), _CMP_GE_OQ);
      const std::size_t at = q * sifted.count + block + b;
      masks[at] = static_cast<std::uint16_t>(mask);
      if (mask != 0) _mm512_storeu_si512(dots + at * kScanBlock, sums[b][q]);
    }
  }
}

template <std::size_t Queries>
__attribute__((target(ROWBANK_VNNI))) void sift_queries(const Sifted& sifted, std::uint16_t* masks,
                                                        std::int32_t* dots) {
  constexpr std::size_t kBlocks = 4;
  std::int32_t start[Queries];
  for (std::size_t q = 0; q < Queries; ++q) {
    std::int32_t sum = 0;
    for (std::size_t i = 0; i < 4 * sifted.groups; ++i) sum += sifted.queries[q].codes[i];
    start[q] = -128 * sum;
  }
  const std::size_t rounds = std::max<std::size_t>(1, sifted.count / kBlocks * sifted.groups);
  Coming coming{sifted.coming, (sifted.coming_lines + rounds - 1) / rounds};
  std::size_t block = 0;
  for (; block + kBlocks <= sifted.count; block += kBlocks) {
    sift_blocks<Queries, kBlocks>(sifted, block, coming, start, masks, dots);
  }
  coming.each = 0;
  for (; block < sifted.count; ++block) sift_blocks<Queries, 1>(sifted, block, coming, start, masks, dots);
}

void sift_avx512(const Sifted& sifted, std::uint16_t* masks, std::int32_t* dots) {
  static constexpr decltype(&sift_queries<1>) kOfQueries[kTogether] = {
      sift_queries<1>, sift_queries<2>, sift_queries<3>, sift_queries<4>, sift_queries<5>, sift_queries<6>};
  kOfQueries[sifted.wanted - 1](sifted, masks, dots);
}

__attribute__((target(ROWBANK_VNNI))) std::size_t filter_avx512(const std::int32_t* dots, const ListedBlocks& listed,
                                                                const ItemColumns& items, const ScanBounds& bounds,
                                                                float threshold, std::uint32_t* hits) {
  const __m512 least = _mm512_set1_ps(threshold);
  const __m512 query_scale = _mm512_set1_ps(bounds.scale);
  const __m512 error_gain = _mm512_set1_ps(bounds.error_gain);
  const __m512 norm_gain = _mm512_set1_ps(bounds.norm_gain);
  const __m512 bonus_gain = _mm512_set1_ps(kBonusRounding);
  const __m512i no_sign = _mm512_set1_epi32(0x7FFFFFFF);
  std::size_t found = 0;
  for (std::size_t block = 0; block < listed.count; ++block) {
    const std::size_t item = static_cast<std::size_t>(listed.blocks[block]) * kScanBlock;
    const std::size_t offset = block * kScanBlock;
    const __m512 scale = _mm512_mul_ps(_mm512_loadu_ps(items.scale + item), query_scale);
    __m512 estimate = _mm512_mul_ps(_mm512_maskz_cvtepi32_ps(0xFFFF, _mm512_loadu_si512(dots + offset)), scale);
    const __m512 error = _mm512_mul_ps(_mm512_loadu_ps(items.error + item), error_gain);
    const __m512 norm = _mm512_mul_ps(_mm512_loadu_ps(items.norm + item), norm_gain);
    __m512 slack = _mm512_add_ps(error, norm);
    if (listed.bonus != nullptr) {
      const __m512 added = _mm512_loadu_ps(listed.bonus + offset);
      const __m512 size = _mm512_castsi512_ps(_mm512_maskz_and_epi32(0xFFFF, _mm512_castps_si512(added), no_sign));
      estimate = _mm512_add_ps(estimate, added);
      slack = _mm512_add_ps(slack, _mm512_mul_ps(size, bonus_gain));
    }
    unsigned mask = _mm512_cmp_ps_mask(_mm512_add_ps(estimate, slack), least, _CMP_GE_OQ);
    if (listed.excluded != nullptr) mask &= ~static_cast<unsigned>(listed.excluded[block]);
    for (; mask != 0; mask &= mask - 1) {
      hits[found++] = static_cast<std::uint32_t>(offset + static_cast<unsigned>(__builtin_ctz(mask)));
    }
  }
  return found;
}

constexpr ScanKernel kAvx512{"avx512", dot_avx512, sift_avx512, filter_avx512, ones_popcnt, score_avx2};

bool has_avx512() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
}

}  // namespace

const ScanKernel* x86_kernel(const char* name) {
  if (std::strcmp(name, kAvx512.name) == 0) return has_avx512() ? &kAvx512 : nullptr;
  if (std::strcmp(name, kAvx2.name) == 0) return __builtin_cpu_supports("avx2") ? &kAvx2 : nullptr;
  return nullptr;
}

}  // namespace rowbank

#endif
