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
                                 const std::vector<std::uint8_t>& excluded) {
  std::vector<double> scores(vectors.size() / dim);
  std::vector<std::int64_t> order;
  for (std::size_t item = 0; item < scores.size(); ++item) {
    for (std::size_t i = 0; i < dim; ++i) scores[item] += static_cast<double>(vectors[item * dim + i]) * query[i];
    if (((excluded[item / 8] >> (item % 8)) & 1) == 0) order.push_back(static_cast<std::int64_t>(item));
  }
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    return scores[static_cast<std::size_t>(a)] > scores[static_cast<std::size_t>(b)];
  });
  order.resize(k, -1);
  return order;
}

void compare(std::size_t size, std::size_t dim, std::size_t k, const ScanKernel& kernel, unsigned seed) {
  std::mt19937 random(seed);
  const std::size_t queries = 3;
  const std::vector<float> vectors = random_rows(random, size * dim);
  const std::vector<float> asked = random_rows(random, queries * dim);
  const std::size_t bytes = (size + 7) / 8;
  // Exactly as long as it must be, so that a read beyond its end is a fault that the sanitizer reports.
  std::vector<std::uint8_t> excluded(queries * bytes);
  for (std::uint8_t& byte : excluded) byte = static_cast<std::uint8_t>(random() & random());
  const FlatIndex index(vectors.data(), size, dim, kernel);
  std::vector<std::int64_t> positions(queries * k);
  std::vector<float> scores(queries * k);
  index.search(asked.data(), queries, k, excluded.data(), bytes, positions.data(), scores.data());
  for (std::size_t query = 0; query < queries; ++query) {
    const auto first = excluded.begin() + static_cast<std::ptrdiff_t>(query * bytes);
    const std::vector<std::uint8_t> own(first, first + static_cast<std::ptrdiff_t>(bytes));
    const auto expected = sorted(vectors, asked.data() + query * dim, dim, k, own);
    for (std::size_t i = 0; i < k; ++i) CHECK_EQ(positions[query * k + i], expected[i]);
  }
}

TEST(flat_index, finds_what_a_full_sort_finds) {
  for (const char* name : {"scalar", "avx2", "avx512"}) {
    const ScanKernel* kernel = scan_kernel_named(name);
    if (kernel == nullptr) continue;
    unsigned seed = 1;
    for (std::size_t size : {0, 1, 7, 15, 16, 17, 31, 511, 512, 513, 1999}) {
      for (std::size_t dim : {1, 3, 4, 5, 64}) {
        for (std::size_t k : {1, 10, 600}) compare(size, dim, k, *kernel, seed++);
      }
    }
  }
}

TEST(flat_index, kernels_agree_on_every_number) {
  std::mt19937 random(7);
  const std::size_t dim = 35;
  const std::vector<float> vectors = random_rows(random, 1000 * dim);
  const std::vector<float> query = random_rows(random, dim);
  std::vector<std::int64_t> expected(50);
  std::vector<float> expected_scores(50);
  FlatIndex(vectors.data(), 1000, dim, *scan_kernel_named("scalar"))
      .search(query.data(), 1, 50, nullptr, 0, expected.data(), expected_scores.data());
  std::vector<std::int64_t> positions(50);
  std::vector<float> scores(50);
  FlatIndex(vectors.data(), 1000, dim).search(query.data(), 1, 50, nullptr, 0, positions.data(), scores.data());
  CHECK(positions == expected);
  CHECK(scores == expected_scores);
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
  CHECK_THROWS(index.search(bad, 1, 1, nullptr, 0, &position, &score), "query 0 is not finite");
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
      index.search(vectors.data(), 1, 20, nullptr, 0, positions.data(), scores.data());
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& positions : found) CHECK(positions == found[0]);
}

}  // namespace
}  // namespace rowbank
