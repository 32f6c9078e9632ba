#include <algorithm>
#include <limits>
#include <random>
#include <vector>

#include "check.h"
#include "hash.h"
#include "pages.h"
#include "select.h"

using namespace rowbank;

namespace {

void check_selection(const std::vector<std::uint64_t>& values) {
  std::vector<std::uint64_t> sorted = values;
  std::sort(sorted.begin(), sorted.end());
  for (const std::size_t n : {std::size_t{0}, values.size() / 5, values.size() / 2, values.size() - 1}) {
    const Selected selected = nth_smallest(values, n);
    const auto [first, last] = std::equal_range(sorted.begin(), sorted.end(), sorted[n]);
    CHECK_EQ(selected.value, sorted[n]);
    CHECK_EQ(selected.below, static_cast<std::size_t>(first - sorted.begin()));
    CHECK_EQ(selected.equal, static_cast<std::size_t>(last - first));
  }
}

}  // namespace

TEST(select, equals_sorting) {
  std::mt19937_64 random(1);
  for (const std::size_t size : {1, 2, 4096, 4097, 100000}) {
    for (const std::uint64_t distinct : {1ULL, 2ULL, 3ULL, 1000ULL, 1ULL << 60}) {
      std::vector<std::uint64_t> values(size);
      for (std::uint64_t& value : values) value = random() % distinct;
      check_selection(values);
    }
  }
}

TEST(select, survives_orders_that_mislead_the_sample) {
  constexpr std::size_t kSize = 64 * 1024;
  std::vector<std::uint64_t> values(kSize);
  // The sample takes every 64th: make it see nothing but the largest, or nothing but the smallest.
  for (std::size_t i = 0; i < kSize; ++i) values[i] = i % 64 == 0 ? kSize + i : i;
  check_selection(values);
  for (std::size_t i = 0; i < kSize; ++i) values[i] = i % 64 == 0 ? i / 64 : kSize + i;
  check_selection(values);
  std::fill(values.begin(), values.end(), std::numeric_limits<std::uint64_t>::max());
  values[1] = 0;
  check_selection(values);
}

TEST(select, key_comes_back_from_its_hash) {
  std::mt19937_64 random(2);
  std::vector<std::int64_t> keys = {0, -1, 1, std::numeric_limits<std::int64_t>::min(),
                                    std::numeric_limits<std::int64_t>::max()};
  for (int i = 0; i < 1000; ++i) keys.push_back(static_cast<std::int64_t>(random()));
  for (const std::int64_t key : keys) CHECK_EQ(key_of_hash(hash_key(key)), key);
}

TEST(select, huge_vectors_grow_across_the_size_of_a_huge_page) {
  HugeVector<std::uint64_t> values;
  for (std::uint64_t i = 0; i < 3 * kHugePage / sizeof i; ++i) values.push_back(i);
  bool same = true;
  for (std::uint64_t i = 0; i < values.size(); ++i) same = same && values[i] == i;
  CHECK(same);
}
