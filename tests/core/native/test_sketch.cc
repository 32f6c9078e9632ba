#include <random>

#include "check.h"
#include "common_row.h"
#include "row_table.h"
#include "sketch.h"

namespace rowbank {
namespace {

TEST(sketch, never_below_the_truth_within_a_window) {
  AdmissionSketch sketch(4096);
  std::mt19937_64 random(1);
  std::vector<std::uint32_t> truth(500, 0);
  for (int i = 0; i < 4000; ++i) {
    const std::size_t key = random() % truth.size();
    ++truth[key];
    CHECK(sketch.add(hash_key(static_cast<std::int64_t>(key)), 1) >= std::min(truth[key], 255U));
  }
}

// The stated rate: a first occurrence is taken for a second one in at most 0.24 % of cases.
TEST(sketch, false_admission_is_as_rare_as_stated) {
  AdmissionSketch sketch(1 << 14);
  std::uint32_t wrong = 0;
  constexpr std::uint32_t kKeys = 200000;
  for (std::int64_t key = 0; key < kKeys; ++key) {
    wrong += sketch.add(hash_key(key), 1) > 1 ? 1 : 0;
  }
  CHECK(wrong < kKeys * 0.0024);
}

TEST(sketch, forgets_and_saturates) {
  AdmissionSketch sketch(64);
  CHECK_EQ(sketch.add(hash_key(1), 3), 3U);
  for (std::int64_t key = 100; key < 100 + 256; ++key) sketch.add(hash_key(key), 1);  // Four halvings: 3 becomes 0.
  CHECK(sketch.add(hash_key(1), 1) <= 2U);
  CHECK_EQ(sketch.add(hash_key(2), 1000), AdmissionSketch::kMaxCount);
  CHECK_EQ(sketch.add(hash_key(2), 1), AdmissionSketch::kMaxCount / 2 + 1);  // 255 was halved before the addition.
}

TEST(sketch, regret_is_counted_once_and_within_its_window) {
  RecentlyEvicted evicted(1024);
  evicted.note(hash_key(1), 100);
  evicted.note(hash_key(2), 100);
  CHECK(!evicted.take(hash_key(3), 110, 60));
  CHECK(evicted.take(hash_key(1), 160, 60));
  CHECK(!evicted.take(hash_key(1), 160, 60));
  CHECK(!evicted.take(hash_key(2), 161, 60));
}

TEST(sketch, common_row_round_trip_and_damage) {
  const Optimizer adagrad("adagrad", {{"learning_rate", 1.0}});
  CommonRow row({1, 2, 3}, adagrad);
  CHECK(!row.take_dirty());
  std::vector<float> gradient{1, 1, 1};
  row.apply(adagrad.plan(1, {}), gradient.data());
  auto packed = row.take_dirty();
  CHECK(packed.has_value());
  CHECK_EQ(packed->size(), 8U + 12U + 12U);
  CommonRow twin({0, 0, 0}, adagrad);
  twin.load(packed->data(), packed->size());
  float a[3];
  float b[3];
  row.read(a);
  twin.read(b);
  CHECK(std::equal(a, a + 3, b));
  for (std::size_t at = 0; at < packed->size(); ++at) {
    (*packed)[at] = static_cast<char>((*packed)[at] ^ 4);
    CHECK_THROWS(twin.load(packed->data(), packed->size()), "damaged");
    (*packed)[at] = static_cast<char>((*packed)[at] ^ 4);
  }
  CHECK_THROWS(twin.load(packed->data(), 31), "expected 32 bytes, got 31");
}

}  // namespace
}  // namespace rowbank
