#include "flat_scan.h"

#include <cstring>
#include <initializer_list>

namespace rowbank {
namespace {

void dot_scalar(const std::uint8_t* codes, const std::uint32_t* blocks, std::size_t count, std::size_t groups,
                const std::int8_t* query, std::int32_t* dots) {
  for (std::size_t block = 0; block < count; ++block) {
    const std::uint8_t* in = codes + static_cast<std::size_t>(blocks[block]) * groups * 4 * kScanBlock;
    std::int32_t* out = dots + block * kScanBlock;
    for (std::size_t i = 0; i < kScanBlock; ++i) out[i] = 0;
    for (std::size_t group = 0; group < groups; ++group, in += 4 * kScanBlock) {
      for (std::size_t i = 0; i < 4 * kScanBlock; ++i) {
        out[i / 4] += (static_cast<std::int32_t>(in[i]) - 128) * query[4 * group + i % 4];
      }
    }
  }
}

std::size_t filter_scalar(const std::int32_t* dots, const ListedBlocks& listed, const ItemColumns& items,
                          const ScanBounds& bounds, float threshold, std::uint32_t* hits) {
  std::size_t found = 0;
  for (std::size_t block = 0; block < listed.count; ++block) {
    const unsigned excluded = listed.excluded == nullptr ? 0U : listed.excluded[block];
    for (std::size_t i = 0; i < kScanBlock; ++i) {
      const std::size_t offset = block * kScanBlock + i;
      const std::size_t item = static_cast<std::size_t>(listed.blocks[block]) * kScanBlock + i;
      const float scale = items.scale[item];
      const float error = items.error[item];
      const float norm = items.norm[item];
      const ScoreRange range = listed.bonus == nullptr
                                   ? score_range(dots[offset], scale, error, norm, bounds)
                                   : score_range(dots[offset], scale, error, norm, bounds, listed.bonus[offset]);
      if (range.upper >= threshold && ((excluded >> i) & 1U) == 0) hits[found++] = static_cast<std::uint32_t>(offset);
    }
  }
  return found;
}

double score_scalar(const float* a, const float* b, std::size_t dim) {
  double sums[8] = {0, 0, 0, 0, 0, 0, 0, 0};
  std::size_t i = 0;
  for (; i + 8 <= dim; i += 8) {
    for (std::size_t j = 0; j < 8; ++j) sums[j] += static_cast<double>(a[i + j]) * b[i + j];
  }
  for (std::size_t j = 0; i < dim; ++i, ++j) sums[j] += static_cast<double>(a[i]) * b[i];
  return add_sums(sums);
}

constexpr ScanKernel kScalar{"scalar", dot_scalar, nullptr, filter_scalar, count_ones, score_scalar};

}  // namespace

#if !defined(__x86_64__)
const ScanKernel* x86_kernel(const char*) {
  return nullptr;
}
#endif
#if !defined(__aarch64__)
const ScanKernel* neon_kernel(const char*) {
  return nullptr;
}
#endif

const ScanKernel* scan_kernel_named(const char* name) {
  if (std::strcmp(name, kScalar.name) == 0) return &kScalar;
  const ScanKernel* kernel = x86_kernel(name);
  return kernel == nullptr ? neon_kernel(name) : kernel;
}

const ScanKernel& scan_kernel() {
  static const ScanKernel* const chosen = [] {
    for (const char* name : {"avx512", "avx2", "neon_dot", "neon"}) {
      const ScanKernel* kernel = scan_kernel_named(name);
      if (kernel != nullptr) return kernel;
    }
    return &kScalar;
  }();
  return *chosen;
}

}  // namespace rowbank
