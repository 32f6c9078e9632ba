#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <numeric>

#include "check.h"
#include "packed_row.h"
#include "row_table.h"

namespace rowbank {
namespace {

constexpr std::size_t kDim = 4;

RowTable make_table(const char* kind = "sgd", std::map<std::string, double> numbers = {{"learning_rate", 1.0}},
                    std::uint32_t buckets = 8) {
  TableOptions options;
  options.name = "t";
  options.dim = kDim;
  options.bucket_count = buckets;
  return RowTable(options, Initializer("uniform", -1, 1, 5), Optimizer(kind, numbers));
}

struct Push {
  std::vector<std::int64_t> keys;
  std::vector<float> gradients;

  Push(std::vector<std::int64_t> k, float gradient) : keys(std::move(k)), gradients(keys.size() * kDim, gradient) {}
  PushCounts into(RowTable& table, std::uint32_t now = 1) const {
    PushRequest request;
    request.now = now;
    return table.push({keys.data(), keys.size()}, {DType::kFloat32, gradients.data()}, nullptr, request);
  }
};

float first_value(const RowTable& table, std::int64_t key) {
  return table.describe(key)->values[0];
}

TEST(row_table, pull_shows_initial_values_and_inserts_nothing) {
  RowTable table = make_table();
  const std::vector<std::int64_t> keys{std::numeric_limits<std::int64_t>::min(), -1, 0, 1,
                                       std::numeric_limits<std::int64_t>::max()};
  std::vector<float> out(keys.size() * kDim);
  std::vector<std::uint8_t> status(keys.size());
  table.pull({keys.data(), keys.size()}, {DType::kFloat32, out.data()}, status.data(), 9);
  for (std::size_t i = 0; i < keys.size(); ++i) {
    CHECK_EQ(status[i], 2);
    CHECK(std::memcmp(out.data() + i * kDim, table.initial_value(keys[i]).data(), kDim * 4) == 0);
  }
  CHECK_EQ(table.size(), 0U);
}

TEST(row_table, repeats_are_summed_then_applied_once) {
  RowTable table = make_table("adagrad", {{"learning_rate", 1.0}, {"initial_accumulator", 0.0}});
  const float start = table.initial_value(7)[0];
  const PushCounts counts = Push({7, 8, 7, 7}, 1.0F).into(table);
  CHECK_EQ(counts.distinct, 2U);
  CHECK_EQ(counts.inserted, 2U);
  const auto row = table.describe(7);
  CHECK_EQ(row->slots[0], 9.0F);  // (1 + 1 + 1)^2, not 1 + 1 + 1.
  CHECK(std::fabs(row->values[0] - (start - 1.0F)) < 1e-6F);
  CHECK_EQ(row->frequency, 3U);
  CHECK_EQ(table.describe(8)->frequency, 1U);
}

TEST(row_table, row_vanished_between_pull_and_push_starts_again_from_its_initial_value) {
  RowTable table = make_table();
  Push({1, 2, 3}, 10.0F).into(table);
  const std::int64_t gone = 2;
  CHECK_EQ(table.remove({&gone, 1}), 1U);
  Push({1, 2, 3}, 1.0F).into(table);
  CHECK_EQ(first_value(table, 1), table.initial_value(1)[0] - 10.0F - 1.0F);
  CHECK_EQ(first_value(table, 2), table.initial_value(2)[0] - 1.0F);
  CHECK_EQ(first_value(table, 3), table.initial_value(3)[0] - 10.0F - 1.0F);
}

TEST(row_table, removing_a_key_twice_in_one_batch) {
  RowTable table = make_table();
  Push({1, 2, 3}, 1.0F).into(table);
  const std::vector<std::int64_t> keys{2, 2, 9, 2};
  CHECK_EQ(table.remove({keys.data(), keys.size()}), 1U);
  CHECK_EQ(table.size(), 2U);
}

TEST(row_table, accumulate_truth_table_and_repeats) {
  RowTable table = make_table();
  Push({1, 2}, 0.0F).into(table);
  const std::vector<std::int64_t> keys{1, 2, 3, 4, 4};
  const std::vector<std::uint8_t> exists{1, 0, 1, 0, 1};
  const std::vector<float> deltas(keys.size() * kDim, 2.0F);
  CHECK_EQ(table.accumulate({keys.data(), 5}, {DType::kFloat32, deltas.data()}, exists.data(), 5, 0), 3U);
  CHECK_EQ(first_value(table, 1), table.initial_value(1)[0] + 2.0F);
  CHECK_EQ(first_value(table, 2), table.initial_value(2)[0]);
  CHECK(!table.describe(3));
  CHECK_EQ(first_value(table, 4), 4.0F);  // Inserted as 2, then present and added to.
}

TEST(row_table, restrict_keeps_exactly_and_preview_agrees) {
  RowTable table = make_table();
  for (std::int64_t key = 0; key < 1000; ++key) {
    Push(std::vector<std::int64_t>(static_cast<std::size_t>(1 + key % 3), key), 0.0F).into(table);
  }
  RestrictRequest request;
  request.num_reserved = 500;
  request.trigger = 999;
  request.sample = 1000;
  const RestrictReport preview = table.preview_restrict(request);
  CHECK_EQ(table.size(), 1000U);
  const RestrictReport report = table.restrict_rows(request);
  CHECK_EQ(table.size(), 500U);
  CHECK_EQ(report.evicted, 500U);
  CHECK_EQ(report.score_cut, 2.0);  // 334 rows of frequency 1 and 166 of frequency 2.
  CHECK(preview.sample_keys == report.sample_keys);
  CHECK_EQ(preview.score_cut, report.score_cut);
  for (const std::int64_t key : report.sample_keys) {
    CHECK(!table.describe(key));
  }
  request.trigger = 500;
  CHECK_EQ(table.restrict_rows(request).evicted, 0U);
  request.trigger = 0;
  request.num_reserved = 0;
  CHECK_EQ(table.restrict_rows(request).evicted, 500U);
  CHECK_EQ(table.size(), 0U);
}

TEST(row_table, dirty_rows_travel_to_another_table_bit_for_bit) {
  RowTable table = make_table("adam", {});
  RowTable twin = make_table("adam", {});
  Push({1, 2, 3, 4, 5}, 0.5F).into(table, 77);
  const std::vector<std::int64_t> gone{3};
  table.remove({gone.data(), 1});
  std::uint64_t removed = 0;
  for (const std::uint32_t bucket : table.dirty_buckets()) {
    DirtyRows rows = table.take_dirty(bucket, 100);
    removed += rows.removed_keys.size();
    CHECK_EQ(twin.load_bucket(bucket, {rows.keys.data(), rows.keys.size()}, rows.packed.data()).loaded,
             rows.keys.size());
  }
  CHECK_EQ(removed, 1U);
  CHECK_EQ(table.dirty_rows(), 0U);
  CHECK_EQ(twin.dirty_rows(), 0U);
  for (const std::int64_t key : {1, 2, 4, 5}) {
    const auto a = table.describe(key);
    const auto b = twin.describe(key);
    CHECK(a->values == b->values);
    CHECK(a->slots == b->slots);
    CHECK_EQ(b->last_used, 77U);
    CHECK_EQ(b->frequency, 1U);
  }
  CHECK(!twin.describe(3));
}

TEST(row_table, failed_write_is_marked_dirty_again) {
  RowTable table = make_table("sgd", {}, 1);
  Push({1, 2}, 1.0F).into(table);
  const std::int64_t gone = 2;
  table.remove({&gone, 1});
  DirtyRows rows = table.take_dirty(0, 10);
  CHECK_EQ(rows.keys.size(), 1U);
  CHECK_EQ(rows.removed_keys.size(), 1U);
  CHECK(table.dirty_buckets().empty());
  table.mark_dirty(0, {rows.keys.data(), 1});
  table.mark_dirty(0, {rows.removed_keys.data(), 1});
  const DirtyRows again = table.take_dirty(0, 10);
  CHECK(again.keys == rows.keys);
  CHECK(again.removed_keys == rows.removed_keys);
  CHECK(again.packed == rows.packed);
}

TEST(row_table, a_bucket_is_packed_without_taking_its_marks) {
  RowTable table = make_table("adam", {}, 1);
  RowTable twin = make_table("adam", {}, 1);
  Push({1, 2, 3}, 0.5F).into(table, 77);
  const std::int64_t gone = 2;
  table.remove({&gone, 1});
  const PackedRows rows = table.pack_bucket(0);
  CHECK_EQ(rows.keys.size(), 2U);
  CHECK_EQ(rows.packed.size(), 2 * table.packed_row_bytes());
  CHECK_EQ(twin.load_bucket(0, {rows.keys.data(), rows.keys.size()}, rows.packed.data()).loaded, 2U);
  CHECK(table.describe(3)->values == twin.describe(3)->values);
  CHECK_EQ(table.take_dirty(0, 10).keys.size(), 2U);
}

TEST(row_table, dirty_marks_are_taken_without_packing) {
  RowTable table = make_table("sgd", {}, 1);
  Push({3, 1, 2}, 1.0F).into(table);
  const std::int64_t gone = 2;
  table.remove({&gone, 1});
  const std::vector<std::int64_t> expected{1, 2, 3};
  CHECK(table.take_dirty_keys(0) == expected);
  CHECK(table.take_dirty_keys(0).empty());
  CHECK(!table.describe(1)->dirty);
  Push({1}, 1.0F).into(table);
  CHECK(table.take_dirty_keys(0) == std::vector<std::int64_t>{1});
}

TEST(row_table, half_life_ages_frequency) {
  TableOptions options;
  options.name = "t";
  options.dim = kDim;
  options.half_life_s = 10;
  RowTable table(options, Initializer("zeros", 0, 0, 0), Optimizer("sgd", {}));
  Push(std::vector<std::int64_t>(8, 1), 0.0F).into(table, 100);
  Push(std::vector<std::int64_t>(3, 2), 0.0F).into(table, 120);
  Push({1}, 0.0F).into(table, 110);  // 8 halves to 4, plus 1.
  CHECK_EQ(table.describe(1)->frequency, 5U);
  CHECK_EQ(table.top(1, Score::kFrequency, 120).keys[0], 2);  // 5 has halved to 2.5 by then.
  CHECK_EQ(table.top(1, Score::kFrequency, 110).keys[0], 1);
}

}  // namespace
}  // namespace rowbank
