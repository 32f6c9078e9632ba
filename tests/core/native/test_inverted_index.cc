#include "inverted_index.h"

#include <cmath>
#include <limits>
#include <random>
#include <thread>
#include <vector>

#include "check.h"
#include "clustering.h"
#include "flat_index.h"

namespace rowbank {
namespace {

constexpr std::size_t kDim = 7;

// Clusters, vectors of different lengths, duplicates and zeros.
std::vector<float> random_items(std::mt19937& random, std::size_t count) {
  std::normal_distribution<float> normal;
  std::vector<float> centres(20 * kDim);
  for (float& value : centres) value = 2 * normal(random);
  std::vector<float> out(count * kDim);
  for (std::size_t item = 0; item < count; ++item) {
    const std::size_t centre = random() % 20;
    const float length = std::exp(normal(random) / 2);
    for (std::size_t i = 0; i < kDim; ++i) {
      out[item * kDim + i] = item % 50 == 0 ? 0 : length * (centres[centre * kDim + i] + normal(random) / 4);
      if (item % 13 == 1) out[item * kDim + i] = out[(item - 1) * kDim + i];
    }
  }
  return out;
}

struct Made {
  std::vector<float> vectors;
  InvertedLists lists;
  VectorCodes codes;

  InvertedArrays arrays() const {
    return {lists.radii.size(),  lists.centroids.data(), lists.radii.data(), lists.spreads.data(),
            lists.starts.data(), lists.positions.data(), codes.arrays()};
  }
};

Made make(unsigned seed, std::size_t size, std::size_t lists) {
  std::mt19937 random(seed);
  Made made;
  made.vectors = random_items(random, size);
  made.lists = make_lists(made.vectors.data(), size, kDim, lists, 1, 2);
  const auto& positions = made.lists.positions;
  made.codes = encode_vectors(made.vectors.data(), kDim, positions.data(), positions.size());
  return made;
}

struct Found {
  std::vector<std::int64_t> positions;
  std::vector<float> scores;
  bool operator==(const Found& other) const { return positions == other.positions && scores == other.scores; }
};

template <typename Search>
Found found(const SearchRequest& request, const Search& search) {
  Found out{std::vector<std::int64_t>(request.count * request.k), std::vector<float>(request.count * request.k)};
  search(out.positions.data(), out.scores.data());
  return out;
}

Found inverted(const InvertedIndex& index, const SearchRequest& request, const ProbeRule& rule) {
  return found(request, [&](std::int64_t* positions, float* scores) { index.search(request, rule, positions, scores); });
}

Found exact(const Made& made, const SearchRequest& request) {
  const std::size_t size = made.vectors.size() / kDim;
  return found(request, [&](std::int64_t* positions, float* scores) {
    search_vectors(made.vectors.data(), size, kDim, request, positions, scores);
  });
}

std::vector<std::uint8_t> random_bits(std::mt19937& random, std::size_t size, unsigned keep_of_256) {
  std::vector<std::uint8_t> out((size + 7) / 8);
  for (std::size_t item = 0; item < size; ++item) {
    if (random() % 256 >= keep_of_256) out[item / 8] |= static_cast<std::uint8_t>(1U << (item % 8));
  }
  return out;
}

TEST(inverted_index, every_vector_is_in_one_list) {
  const Made made = make(1, 1003, 40);
  std::vector<int> times(1003);
  for (std::uint32_t position : made.lists.positions) {
    if (position != kNoPosition) ++times.at(position);
  }
  for (int count : times) CHECK_EQ(count, 1);
  CHECK(made.lists.radii.size() <= 40);
  CHECK_EQ(made.lists.starts.back() * kScanBlock, made.lists.positions.size());
}

TEST(inverted_index, threads_change_nothing) {
  std::mt19937 random(3);
  const std::vector<float> vectors = random_items(random, 3000);
  const InvertedLists one = make_lists(vectors.data(), 3000, kDim, 30, 5, 1);
  const InvertedLists many = make_lists(vectors.data(), 3000, kDim, 30, 5, 4);
  CHECK(one.centroids == many.centroids);
  CHECK(one.positions == many.positions);
  CHECK(one.starts == many.starts);
  CHECK(one.radii == many.radii);
}

TEST(inverted_index, all_lists_are_an_exact_search) {
  for (std::size_t size : {1, 17, 500, 2003}) {
    const Made made = make(static_cast<unsigned>(size), size, std::min<std::size_t>(size, 30));
    std::mt19937 random(9);
    const std::vector<float> queries = random_items(random, 4);
    std::normal_distribution<float> normal;
    std::vector<float> added(size);
    for (float& value : added) value = normal(random);
    const float* bonus[4] = {nullptr, added.data(), nullptr, added.data()};
    for (unsigned keep : {0U, 1U, 10U, 128U, 256U}) {
      const std::vector<std::uint8_t> bits = random_bits(random, size, keep);
      for (const char* name : {"scalar", "avx2", "avx512", "neon", "neon_dot"}) {
        const ScanKernel* kernel = scan_kernel_named(name);
        if (kernel == nullptr) continue;
        const InvertedIndex index(nullptr, made.vectors.data(), size, kDim, made.arrays(), *kernel);
        SearchRequest request{queries.data(), 4, 25, bits.data(), 0};
        CHECK(inverted(index, request, {index.lists(), 0}) == exact(made, request));
        request.bonus = bonus;
        CHECK(inverted(index, request, {index.lists(), 0}) == exact(made, request));
        request.exclude = nullptr;
        CHECK(inverted(index, request, {index.lists(), 0}) == exact(made, request));
      }
    }
  }
}

TEST(inverted_index, kernels_find_the_same) {
  const Made made = make(4, 5000, 100);
  const InvertedIndex scalar(nullptr, made.vectors.data(), 5000, kDim, made.arrays(), *scan_kernel_named("scalar"));
  const InvertedIndex widest(nullptr, made.vectors.data(), 5000, kDim, made.arrays());
  const SearchRequest request{made.vectors.data() + kDim, 50, 20};
  CHECK(inverted(scalar, request, {3, 0}) == inverted(widest, request, {3, 0}));
}

TEST(inverted_index, few_lists_find_what_is_eligible) {
  const Made made = make(6, 5000, 100);
  const InvertedIndex index(nullptr, made.vectors.data(), 5000, kDim, made.arrays());
  std::mt19937 random(2);
  for (unsigned keep : {1U, 10U, 60U}) {
    const std::vector<std::uint8_t> bits = random_bits(random, 5000, keep);
    const SearchRequest request{made.vectors.data() + kDim, 8, 30, bits.data(), 0};
    const Found got = inverted(index, request, {2, 60});
    const Found best = exact(made, request);
    for (std::size_t i = 0; i < got.positions.size(); ++i) CHECK_EQ(got.positions[i] >= 0, best.positions[i] >= 0);
  }
}

TEST(inverted_index, those_with_a_bonus_are_found_wherever_they_are) {
  const Made made = make(8, 5000, 100);
  const InvertedIndex index(nullptr, made.vectors.data(), 5000, kDim, made.arrays());
  std::vector<float> added(5000);
  for (std::size_t i = 0; i < 5000; i += 250) added[i + 3] = 1e6F;
  const float* bonus = added.data();
  SearchRequest request{made.vectors.data() + kDim, 1, 20};
  request.bonus = &bonus;
  CHECK(inverted(index, request, {1, 0}) == exact(made, request));
}

TEST(inverted_index, refuses_what_does_not_go_together) {
  const Made made = make(5, 300, 10);
  std::vector<std::uint32_t> starts = made.lists.starts;
  InvertedArrays arrays = made.arrays();
  arrays.starts = starts.data();
  const auto open = [&] { InvertedIndex(nullptr, made.vectors.data(), 300, kDim, arrays); };
  starts[1] = starts.back() + 1;
  CHECK_THROWS(open(), "starts must not fall: list 1");
  starts[0] = 1;
  CHECK_THROWS(open(), "starts must begin with 0");
  arrays = made.arrays();
  const std::vector<float> nan(arrays.lists, std::numeric_limits<float>::quiet_NaN());
  arrays.spreads = nan.data();
  CHECK_THROWS(open(), "radius and spread must be finite; those of list 0");
  CHECK_THROWS(make_lists(made.vectors.data(), 3, kDim, 4, 0, 1), "lists must be 1 to 3");
}

TEST(inverted_index, damaged_arrays_are_no_fault) {
  Made made = make(7, 2000, 40);
  std::mt19937 random(1);
  for (std::uint32_t& position : made.lists.positions) {
    if (random() % 3 == 0) position = static_cast<std::uint32_t>(random());
  }
  for (std::uint8_t& code : made.codes.codes) code = static_cast<std::uint8_t>(random());
  for (float& scale : made.codes.scale) scale = random() % 5 == 0 ? std::nanf("") : scale;
  for (float& error : made.codes.error) error = random() % 5 == 0 ? std::numeric_limits<float>::infinity() : error;
  const InvertedIndex index(nullptr, made.vectors.data(), 2000, kDim, made.arrays());
  const SearchRequest request{made.vectors.data() + kDim, 5, 30};
  for (std::size_t lists : {1, 40}) {
    for (std::int64_t position : inverted(index, request, {lists, 0}).positions) CHECK(position < 2000);
  }
}

TEST(inverted_index, many_threads_search_one_index) {
  const Made made = make(2, 2000, 40);
  const InvertedIndex index(nullptr, made.vectors.data(), 2000, kDim, made.arrays());
  const SearchRequest request{made.vectors.data() + kDim, 5, 20};
  std::vector<Found> all(4);
  std::vector<std::thread> threads;
  for (Found& one : all) {
    threads.emplace_back([&index, &request, &one] { one = inverted(index, request, {4, 0}); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Found& one : all) CHECK(one == all[0]);
}

}  // namespace
}  // namespace rowbank
