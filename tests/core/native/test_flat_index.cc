#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <thread>
#include <vector>

#include "check.h"
#include "flat_index.h"

namespace rowbank {
namespace {

std::vector<float> random_rows(std::mt19937& random, std::size_t count) {
  std::normal_distribution<float> normal;
  std::vector<float> out(count);
  for (float& value : out) value = normal(random);
  return out;
}

// Positions by a full sort of scores in double precision: what an exact index must find.
std::vector<std::int64_t> sorted(const std::vector<float>& vectors, const float* query, std::size_t dim, std::size_t k,
                                 const std::vector<std::uint8_t>& excluded, const float* bonus) {
  std::vector<double> scores(vectors.size() / dim);
  std::vector<std::int64_t> order;
  for (std::size_t item = 0; item < scores.size(); ++item) {
    for (std::size_t i = 0; i < dim; ++i) scores[item] += static_cast<double>(vectors[item * dim + i]) * query[i];
    if (bonus != nullptr) scores[item] += static_cast<double>(bonus[item]);
    if (((excluded[item / 8] >> (item % 8)) & 1) == 0) order.push_back(static_cast<std::int64_t>(item));
  }
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    return scores[static_cast<std::size_t>(a)] > scores[static_cast<std::size_t>(b)];
  });
  order.resize(k, -1);
  return order;
}

struct Case {
  std::size_t size;
  std::size_t dim;
  std::size_t k;
  unsigned keep_of_256;  // How many items in 256 are eligible.
  bool bonus;
};

void compare(const Case& what, const ScanKernel& kernel, unsigned seed) {
  std::mt19937 random(seed);
  const std::size_t queries = 9;  // Which share the reading of codes in two parts, if they may.
  const std::vector<float> vectors = random_rows(random, what.size * what.dim);
  const std::vector<float> asked = random_rows(random, queries * what.dim);
  const std::vector<float> added = random_rows(random, what.size);
  const std::size_t bytes = (what.size + 7) / 8;
  // Exactly as long as it must be, so that a read beyond its end is a fault that the sanitizer reports.
  std::vector<std::uint8_t> excluded(queries * bytes);
  for (std::size_t query = 0; query < queries; ++query) {
    for (std::size_t item = 0; item < what.size; ++item) {
      if (random() % 256 < what.keep_of_256) continue;
      excluded[query * bytes + item / 8] |= static_cast<std::uint8_t>(1U << (item % 8));
    }
  }
  const FlatIndex index(vectors.data(), what.size, what.dim, kernel);
  std::vector<std::int64_t> positions(queries * what.k);
  std::vector<float> scores(queries * what.k);
  SearchRequest request{asked.data(), queries, what.k, excluded.data(), bytes};
  const float* bonus[queries] = {added.data(), nullptr, added.data()};
  if (what.bonus) request.bonus = bonus;
  index.search(request, positions.data(), scores.data());
  for (std::size_t query = 0; query < queries; ++query) {
    const auto first = excluded.begin() + static_cast<std::ptrdiff_t>(query * bytes);
    const std::vector<std::uint8_t> own(first, first + static_cast<std::ptrdiff_t>(bytes));
    const float* values = asked.data() + query * what.dim;
    const auto expected = sorted(vectors, values, what.dim, what.k, own, request.bonus_of(query));
    for (std::size_t i = 0; i < what.k; ++i) CHECK_EQ(positions[query * what.k + i], expected[i]);
  }
}

const char* const kKernels[] = {"scalar", "avx2", "avx512", "neon", "neon_dot"};

TEST(flat_index, finds_what_a_full_sort_finds) {
  for (const char* name : kKernels) {
    const ScanKernel* kernel = scan_kernel_named(name);
    if (kernel == nullptr) continue;
    unsigned seed = 1;
    for (std::size_t size : {0, 1, 7, 15, 16, 17, 31, 511, 512, 513, 1999}) {
      for (std::size_t dim : {1, 3, 4, 5, 64}) {
        for (std::size_t k : {1, 10, 600}) compare({size, dim, k, 192, seed % 2 == 0}, *kernel, seed++);
      }
    }
  }
}

TEST(flat_index, finds_the_same_however_few_are_eligible) {
  for (const char* name : kKernels) {
    const ScanKernel* kernel = scan_kernel_named(name);
    if (kernel == nullptr) continue;
    unsigned seed = 1;
    for (unsigned keep : {0U, 1U, 4U, 12U, 40U, 256U}) {
      for (std::size_t size : {100, 2049}) {
        compare({size, 9, 30, keep, false}, *kernel, seed++);
        compare({size, 9, 30, keep, true}, *kernel, seed++);
      }
    }
  }
}

struct Found {
  std::vector<std::int64_t> positions;
  std::vector<float> scores;
};

Found search(const FlatIndex& index, const std::vector<float>& query, const float* bonus) {
  Found found{std::vector<std::int64_t>(50), std::vector<float>(50)};
  SearchRequest request{query.data(), 1, 50};
  request.bonus = &bonus;
  index.search(request, found.positions.data(), found.scores.data());
  return found;
}

TEST(flat_index, kernels_agree_on_every_number) {
  std::mt19937 random(7);
  const std::size_t dim = 35;
  const std::vector<float> vectors = random_rows(random, 1000 * dim);
  const std::vector<float> query = random_rows(random, dim);
  const std::vector<float> added = random_rows(random, 1000);
  const FlatIndex scalar(vectors.data(), 1000, dim, *scan_kernel_named("scalar"));
  for (const float* bonus : {static_cast<const float*>(nullptr), added.data()}) {
    const Found expected = search(scalar, query, bonus);
    for (const char* name : kKernels) {
      const ScanKernel* kernel = scan_kernel_named(name);
      if (kernel == nullptr) continue;
      const Found found = search(FlatIndex(vectors.data(), 1000, dim, *kernel), query, bonus);
      CHECK(found.positions == expected.positions);
      CHECK(found.scores == expected.scores);
    }
  }
}

// What several queries share is what each of them has alone, as far as it reaches what they ask for.
void check_sift(const ScanKernel& kernel, const std::vector<std::uint8_t>& codes,
                const std::vector<std::uint32_t>& listed, std::size_t groups, const std::vector<std::int8_t>& first,
                std::mt19937& random) {
  std::vector<float> scale(codes.size() / (4 * groups));
  for (float& value : scale) value = static_cast<float>(random() % 1000) / 100;
  const float infinity = std::numeric_limits<float>::infinity();
  const float least[] = {5e4F, -infinity, 0, -1e4F, 1e5F, 1e9F};
  std::vector<std::vector<std::int8_t>> codes_of(kTogether, first);
  std::vector<SiftedQuery> queries;
  for (std::size_t i = 0; i < kTogether; ++i) {
    if (i != 0) std::shuffle(codes_of[i].begin(), codes_of[i].end(), random);
    queries.push_back({codes_of[i].data(), least[i]});
  }
  for (std::size_t count = 0; count <= listed.size(); ++count) {
    for (std::size_t wanted = 1; wanted <= kTogether; ++wanted) {
      std::vector<std::uint16_t> masks(wanted * count);
      std::vector<std::int32_t> dots(wanted * count * kScanBlock);
      kernel.sift({codes.data(), listed.data(), count, groups, scale.data(), queries.data(), wanted, codes.data(),
                   codes.size() / 64},
                  masks.data(), dots.data());
      for (std::size_t at = 0; at < masks.size(); ++at) {
        std::int32_t alone[kScanBlock];
        const SiftedQuery& query = queries[at / count];
        scan_kernel_named("scalar")->dot(codes.data(), &listed[at % count], 1, groups, query.codes, alone);
        for (std::size_t i = 0; i < kScanBlock; ++i) {
          const float scaled = static_cast<float>(alone[i]) * scale[listed[at % count] * kScanBlock + i];
          CHECK_EQ((masks[at] >> i) & 1, scaled >= query.least ? 1 : 0);
          if (masks[at] != 0) CHECK_EQ(dots[at * kScanBlock + i], alone[i]);
        }
      }
    }
  }
}

TEST(flat_index, a_sift_lets_in_all_that_may_be_wanted) {
  std::mt19937 random(17);
  std::uniform_real_distribution<float> power(-30, 16);
  std::uniform_real_distribution<float> near(-1, 1);
  std::size_t wanted = 0;
  for (int i = 0; i < 200000; ++i) {
    const ScanBounds bounds{std::pow(10.0F, power(random)), std::pow(10.0F, power(random)),
                            std::pow(10.0F, power(random))};
    const float scale = std::pow(10.0F, power(random));
    const float error = scale * std::fabs(near(random));
    const float norm = scale * std::fabs(near(random));
    const auto dot = static_cast<std::int32_t>(random() % 2000001) - 1000000;
    const float upper = score_range(dot, scale, error, norm, bounds).upper;
    // Near where the bounds meet, and where they do so by a hair; less what products of tiny scales may lose, as
    // always.
    const float threshold = (i % 2 == 0 ? upper : upper * (1 + 1e-7F * near(random))) - 1e-36F;
    if (upper < threshold) continue;
    ++wanted;
    CHECK(static_cast<float>(dot) * scale >= least_scaled(bounds, threshold, error, norm));
  }
  CHECK(wanted > 100000);
  const float infinity = std::numeric_limits<float>::infinity();
  CHECK_EQ(least_scaled({1, 1, 1}, -infinity, 1, 1), -infinity);
  CHECK_EQ(least_scaled({0, 1, 1}, 5, 1, 1), -infinity);
  CHECK_EQ(least_scaled({1, 1, 1}, 10, 2, 3), static_cast<float>(5 - 1e-5 * 15));
}

TEST(flat_index, kernels_agree_in_every_loop) {
  std::mt19937 random(11);
  const ScanKernel& scalar = *scan_kernel_named("scalar");
  const std::size_t groups = 5;
  const std::size_t blocks = 9;
  std::vector<std::uint8_t> codes(blocks * groups * 4 * kScanBlock);
  for (std::uint8_t& code : codes) code = static_cast<std::uint8_t>(1 + random() % 255);
  std::vector<std::int8_t> query(4 * groups);
  for (std::int8_t& code : query) code = static_cast<std::int8_t>(static_cast<int>(random() % 255) - 127);
  codes[0] = 255;
  query[0] = -127;
  const std::vector<std::uint32_t> listed = {8, 0, 3, 4, 7};
  const std::vector<float> row = random_rows(random, 37);
  const std::vector<float> other = random_rows(random, 37);
  std::vector<std::int32_t> expected(listed.size() * kScanBlock);
  scalar.dot(codes.data(), listed.data(), listed.size(), groups, query.data(), expected.data());
  for (const char* name : kKernels) {
    const ScanKernel* kernel = scan_kernel_named(name);
    if (kernel == nullptr) continue;
    std::vector<std::int32_t> dots(expected.size());
    kernel->dot(codes.data(), listed.data(), listed.size(), groups, query.data(), dots.data());
    CHECK(dots == expected);
    if (kernel->sift != nullptr) check_sift(*kernel, codes, listed, groups, query, random);
    for (std::size_t dim = 0; dim <= 37; ++dim) {
      CHECK(kernel->score(row.data(), other.data(), dim) == scalar.score(row.data(), other.data(), dim));
    }
    for (std::size_t bytes = 0; bytes <= 100; ++bytes) {
      CHECK_EQ(kernel->ones(codes.data(), bytes), scalar.ones(codes.data(), bytes));
    }
  }
}

TEST(flat_index, lies_over_arrays_of_others) {
  std::mt19937 random(5);
  const std::size_t dim = 6;
  const std::vector<float> vectors = random_rows(random, 300 * dim);
  const std::vector<float> query = random_rows(random, dim);
  const FlatIndex whole(vectors.data(), 300, dim);
  const FlatIndex vectors_only(nullptr, vectors.data(), 300, dim);
  const FlatIndex all(nullptr, vectors.data(), 300, dim, whole.arrays());
  CHECK(vectors_only.vectors() == vectors.data());
  CHECK(search(vectors_only, query, nullptr).positions == search(whole, query, nullptr).positions);
  CHECK(search(all, query, nullptr).positions == search(whole, query, nullptr).positions);
}

TEST(flat_index, refuses_what_has_no_order) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float bad[2] = {1, nan};
  const float good[2] = {1, 2};
  std::int64_t position = 0;
  float score = 0;
  CHECK_THROWS(FlatIndex(bad, 1, 2), "vector 0 is not finite in dimension 1");
  CHECK_THROWS(FlatIndex(good, 1, 0), "dim must be 1 to 4096");
  const FlatIndex index(good, 1, 2);
  CHECK_THROWS(index.search({bad, 1, 1}, &position, &score), "query 0 is not finite");
  const float* bonus = bad + 1;
  CHECK_THROWS(index.search({good, 1, 1, nullptr, 0, &bonus}, &position, &score), "at position 0 is not finite");
}

TEST(flat_index, many_threads_search_one_index) {
  std::mt19937 random(3);
  const std::size_t dim = 16;
  const std::vector<float> vectors = random_rows(random, 2000 * dim);
  const FlatIndex index(vectors.data(), 2000, dim);
  std::vector<std::vector<std::int64_t>> found(4, std::vector<std::int64_t>(20));
  std::vector<std::thread> threads;
  for (auto& positions : found) {
    threads.emplace_back([&index, &vectors, &positions] {
      std::vector<float> scores(20);
      index.search({vectors.data(), 1, 20}, positions.data(), scores.data());
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& positions : found) CHECK(positions == found[0]);
}

}  // namespace
}  // namespace rowbank
