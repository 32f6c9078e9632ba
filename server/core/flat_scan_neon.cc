// NEON, which every 64-bit ARM has, and its dot-product instructions, which most have.
#include "flat_scan.h"

#if defined(__aarch64__)

#include <arm_neon.h>
#if defined(__linux__)
#include <sys/auxv.h>
#endif

#include <cstring>

namespace rowbank {
namespace {

// 4 codes of the query in every lane.
int8x16_t lanes(const std::int8_t* query, std::size_t group) {
  std::int32_t bits = 0;
  std::memcpy(&bits, query + 4 * group, 4);
  return vreinterpretq_s8_s32(vdupq_n_s32(bits));
}

int8x16_t signed_codes(const std::uint8_t* in) {
  return vreinterpretq_s8_u8(veorq_u8(vld1q_u8(in), vdupq_n_u8(0x80)));
}

// Sums of two products of codes, at most 2 * 127 * 127, fit 16 bits; pairs of those make the four products of an item.
void dot_neon(const std::uint8_t* codes, const std::uint32_t* blocks, std::size_t count, std::size_t groups,
              const std::int8_t* query, std::int32_t* dots) {
  for (std::size_t block = 0; block < count; ++block) {
    const std::uint8_t* in = codes + static_cast<std::size_t>(blocks[block]) * groups * 4 * kScanBlock;
    int32x4_t sums[4] = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};
    for (std::size_t group = 0; group < groups; ++group, in += 4 * kScanBlock) {
      const int8x16_t wanted = lanes(query, group);
      for (std::size_t part = 0; part < 4; ++part) {
        const int8x16_t item = signed_codes(in + 16 * part);
        const int16x8_t low = vmull_s8(vget_low_s8(item), vget_low_s8(wanted));
        const int16x8_t high = vmull_high_s8(item, wanted);
        sums[part] = vpadalq_s16(sums[part], vpaddq_s16(low, high));
      }
    }
    for (std::size_t part = 0; part < 4; ++part) vst1q_s32(dots + block * kScanBlock + 4 * part, sums[part]);
  }
}

__attribute__((target("arch=armv8.2-a+dotprod"))) void dot_neon_dot(const std::uint8_t* codes,
                                                                    const std::uint32_t* blocks, std::size_t count,
                                                                    std::size_t groups, const std::int8_t* query,
                                                                    std::int32_t* dots) {
  for (std::size_t block = 0; block < count; ++block) {
    const std::uint8_t* in = codes + static_cast<std::size_t>(blocks[block]) * groups * 4 * kScanBlock;
    int32x4_t sums[4] = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};
    for (std::size_t group = 0; group < groups; ++group, in += 4 * kScanBlock) {
      const int8x16_t wanted = lanes(query, group);
      for (std::size_t part = 0; part < 4; ++part) {
        sums[part] = vdotq_s32(sums[part], signed_codes(in + 16 * part), wanted);
      }
    }
    for (std::size_t part = 0; part < 4; ++part) vst1q_s32(dots + block * kScanBlock + 4 * part, sums[part]);
  }
}

float32x4_t upper_neon(const std::int32_t* dots, const ItemColumns& items, std::size_t item, const ScanBounds& bounds,
                       const float* bonus) {
  const float32x4_t scale = vmulq_f32(vld1q_f32(items.scale + item), vdupq_n_f32(bounds.scale));
  float32x4_t estimate = vmulq_f32(vcvtq_f32_s32(vld1q_s32(dots)), scale);
  const float32x4_t error = vmulq_f32(vld1q_f32(items.error + item), vdupq_n_f32(bounds.error_gain));
  const float32x4_t norm = vmulq_f32(vld1q_f32(items.norm + item), vdupq_n_f32(bounds.norm_gain));
  float32x4_t slack = vaddq_f32(error, norm);
  if (bonus != nullptr) {
    const float32x4_t added = vld1q_f32(bonus);
    estimate = vaddq_f32(estimate, added);
    slack = vaddq_f32(slack, vmulq_f32(vabsq_f32(added), vdupq_n_f32(kBonusRounding)));
  }
  return vaddq_f32(estimate, slack);
}

std::size_t filter_neon(const std::int32_t* dots, const ListedBlocks& listed, const ItemColumns& items,
                        const ScanBounds& bounds, float threshold, std::uint32_t* hits) {
  const float32x4_t least = vdupq_n_f32(threshold);
  const std::uint32_t powers[4] = {1, 2, 4, 8};
  const uint32x4_t weights = vld1q_u32(powers);
  std::size_t found = 0;
  for (std::size_t block = 0; block < listed.count; ++block) {
    const std::size_t item = static_cast<std::size_t>(listed.blocks[block]) * kScanBlock;
    const std::size_t offset = block * kScanBlock;
    unsigned mask = 0;
    for (std::size_t part = 0; part < kScanBlock; part += 4) {
      const float* bonus = listed.bonus == nullptr ? nullptr : listed.bonus + offset + part;
      const uint32x4_t reached = vcgeq_f32(upper_neon(dots + offset + part, items, item + part, bounds, bonus), least);
      mask |= vaddvq_u32(vandq_u32(reached, weights)) << part;
    }
    if (listed.excluded != nullptr) mask &= ~static_cast<unsigned>(listed.excluded[block]);
    for (; mask != 0; mask &= mask - 1) {
      hits[found++] = static_cast<std::uint32_t>(offset + static_cast<unsigned>(__builtin_ctz(mask)));
    }
  }
  return found;
}

double score_neon(const float* a, const float* b, std::size_t dim) {
  float64x2_t sum[4] = {vdupq_n_f64(0), vdupq_n_f64(0), vdupq_n_f64(0), vdupq_n_f64(0)};
  std::size_t i = 0;
  for (; i + 8 <= dim; i += 8) {
    for (std::size_t part = 0; part < 4; ++part) {
      const float64x2_t left = vcvt_f64_f32(vld1_f32(a + i + 2 * part));
      sum[part] = vaddq_f64(sum[part], vmulq_f64(left, vcvt_f64_f32(vld1_f32(b + i + 2 * part))));
    }
  }
  double sums[8];
  for (std::size_t part = 0; part < 4; ++part) vst1q_f64(sums + 2 * part, sum[part]);
  for (std::size_t j = 0; i < dim; ++i, ++j) sums[j] += static_cast<double>(a[i]) * b[i];
  return add_sums(sums);
}

constexpr ScanKernel kNeon{"neon", dot_neon, nullptr, filter_neon, count_ones, score_neon};
constexpr ScanKernel kNeonDot{"neon_dot", dot_neon_dot, nullptr, filter_neon, count_ones, score_neon};

bool has_dot_products() {
#if defined(__linux__)
  return (getauxval(AT_HWCAP) & (1UL << 20)) != 0;  // HWCAP_ASIMDDP.
#elif defined(__APPLE__)
  return true;
#else
  return false;
#endif
}

}  // namespace

const ScanKernel* neon_kernel(const char* name) {
  if (std::strcmp(name, kNeon.name) == 0) return &kNeon;
  if (std::strcmp(name, kNeonDot.name) == 0) return has_dot_products() ? &kNeonDot : nullptr;
  return nullptr;
}

}  // namespace rowbank

#endif
