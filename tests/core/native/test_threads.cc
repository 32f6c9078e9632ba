// Everything at once, for the thread sanitizer, with arithmetic as the judge: gradients of -1 under SGD(1.0) and
// initial values of zero make a row's every element the number of pushes it received.
#include <algorithm>
#include <array>
#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "check.h"
#include "row_table.h"

namespace rowbank {
namespace {

constexpr std::size_t kDim = 8;
constexpr int kKeys = 3000;

RowTable counting_table(bool track_reads) {
  TableOptions options;
  options.name = "t";
  options.dim = kDim;
  options.bucket_count = 16;
  options.track_reads = track_reads;
  return RowTable(options, Initializer("zeros", 0, 0, 0), Optimizer("sgd", {{"learning_rate", 1.0}}));
}

void push_all(RowTable& table, std::uint64_t seed, int rounds) {
  std::mt19937_64 random(seed);
  const std::vector<float> gradients(64 * kDim, -1.0F);
  std::vector<std::int64_t> keys(kKeys);
  for (int key = 0; key < kKeys; ++key) keys[static_cast<std::size_t>(key)] = key;
  for (int round = 0; round < rounds; ++round) {
    std::shuffle(keys.begin(), keys.end(), random);
    for (std::size_t at = 0; at + 60 <= keys.size(); at += 60) {
      PushRequest request;
      request.now = static_cast<std::uint32_t>(round);
      table.push({keys.data() + at, 60}, {DType::kFloat32, gradients.data()}, nullptr, request);
    }
  }
}

// A row is whole when all its elements are equal.
void check_whole(const float* row) {
  for (std::size_t i = 1; i < kDim; ++i) CHECK_EQ(row[i], row[0]);
}

TEST(threads, no_push_is_lost_and_no_read_is_torn) {
  RowTable table = counting_table(true);
  std::atomic<bool> done{false};
  std::vector<std::thread> readers;
  for (int reader = 0; reader < 2; ++reader) {
    readers.emplace_back([&, reader] {
      std::mt19937_64 random(static_cast<std::uint64_t>(reader) + 50);
      std::vector<std::int64_t> keys(128);
      std::vector<float> out(128 * kDim);
      std::vector<float> last(kKeys, 0.0F);
      std::vector<std::uint8_t> status(128);
      std::uint32_t now = 0;
      while (!done) {
        for (auto& key : keys) key = static_cast<std::int64_t>(random() % kKeys);
        table.pull({keys.data(), 128}, {DType::kFloat32, out.data()}, status.data(), ++now);
        for (std::size_t i = 0; i < keys.size(); ++i) {
          check_whole(out.data() + i * kDim);
          float& seen = last[static_cast<std::size_t>(keys[i])];
          CHECK(out[i * kDim] >= seen);  // A key's reads never go back in time.
          seen = out[i * kDim];
        }
      }
    });
  }
  std::thread flusher([&] {
    while (!done) {
      for (const std::uint32_t bucket : table.dirty_buckets()) {
        const DirtyRows rows = table.take_dirty(bucket, 64);
        CHECK_EQ(rows.packed.size(), rows.keys.size() * table.packed_row_bytes());
      }
      table.bytes();
    }
  });
  std::thread exporter([&] {
    while (!done) {
      for (std::uint32_t bucket = 0; bucket < 16; ++bucket) {
        const ExportedRows rows = table.export_bucket(bucket, true);
        for (std::size_t i = 0; i < rows.keys.size(); ++i) check_whole(rows.values.data() + i * kDim);
      }
      table.top(10, Score::kFrequency, 5);
    }
  });
  std::thread first([&] { push_all(table, 1, 10); });
  std::thread second([&] { push_all(table, 2, 10); });
  first.join();
  second.join();
  done = true;
  for (auto& reader : readers) reader.join();
  flusher.join();
  exporter.join();
  CHECK_EQ(table.size(), static_cast<std::uint64_t>(kKeys));
  for (std::int64_t key = 0; key < kKeys; ++key) {
    const auto row = table.describe(key);
    CHECK_EQ(row->values[0], 20.0F);
    CHECK_EQ(row->frequency, 20U);
  }
}

// Each key's reads are linearizable: a read shows at least every push that was answered before it began, and at most
// those that had begun when it ended.
TEST(threads, a_read_shows_what_was_answered_before_it) {
  constexpr std::size_t kHot = 64;
  RowTable table = counting_table(false);
  std::array<std::atomic<int>, kHot> begun{};
  std::array<std::atomic<int>, kHot> answered{};
  std::atomic<int> writers{2};
  const auto write = [&](std::uint64_t seed) {
    std::mt19937_64 random(seed);
    const std::vector<float> gradients(8 * kDim, -1.0F);
    for (int round = 0; round < 3000; ++round) {
      std::array<std::int64_t, 8> keys;
      const auto first = static_cast<std::int64_t>(random() % kHot);
      for (std::int64_t i = 0; i < 8; ++i) keys[static_cast<std::size_t>(i)] = (first + i * 5) % kHot;
      for (const std::int64_t key : keys) ++begun[static_cast<std::size_t>(key)];
      table.push({keys.data(), 8}, {DType::kFloat32, gradients.data()}, nullptr, PushRequest{});
      for (const std::int64_t key : keys) ++answered[static_cast<std::size_t>(key)];
    }
    --writers;
  };
  const auto read = [&](std::uint64_t seed) {
    std::mt19937_64 random(seed);
    std::vector<float> out(16 * kDim);
    std::vector<std::uint8_t> status(16);
    while (writers > 0) {
      std::array<std::int64_t, 16> keys;
      std::array<int, 16> least;
      for (std::size_t i = 0; i < 16; ++i) {
        keys[i] = static_cast<std::int64_t>(random() % kHot);
        least[i] = answered[static_cast<std::size_t>(keys[i])];
      }
      table.pull({keys.data(), 16}, {DType::kFloat32, out.data()}, status.data(), 1);
      for (std::size_t i = 0; i < 16; ++i) {
        check_whole(out.data() + i * kDim);
        CHECK(out[i * kDim] >= static_cast<float>(least[i]));
        CHECK(out[i * kDim] <= static_cast<float>(begun[static_cast<std::size_t>(keys[i])]));
      }
    }
  };
  std::thread first([&] { write(1); });
  std::thread second([&] { write(2); });
  std::thread third([&] { read(3); });
  read(4);
  first.join();
  second.join();
  third.join();
}

// Gradients of -1 reach either a key's own row or the common row: together they count every occurrence.
TEST(threads, admission_loses_no_gradient) {
  TableOptions options;
  options.name = "t";
  options.dim = kDim;
  options.bucket_count = 16;
  options.min_count = 3;
  RowTable table(options, Initializer("zeros", 0, 0, 0), Optimizer("sgd", {{"learning_rate", 1.0}}));
  std::thread first([&] { push_all(table, 3, 5); });
  std::thread second([&] { push_all(table, 4, 5); });
  first.join();
  second.join();
  std::vector<float> common(kDim);
  table.common_row().read(common.data());
  double total = common[0];
  for (std::uint32_t bucket = 0; bucket < 16; ++bucket) {
    for (const float x : table.export_bucket(bucket, false).values) total += x / kDim;
  }
  CHECK_EQ(total, 10.0 * kKeys);
  CHECK_EQ(table.stats().pushed, 10U * kKeys);
}

TEST(threads, growth_eviction_removal_and_clear_at_once) {
  RowTable table = counting_table(false);
  std::atomic<std::uint32_t> clock{0};
  std::atomic<bool> done{false};
  std::vector<std::thread> workers;
  for (std::uint64_t worker = 0; worker < 2; ++worker) {
    workers.emplace_back([&, worker] {
      std::mt19937_64 random(worker);
      const std::vector<float> gradients(100 * kDim, -1.0F);
      std::vector<std::int64_t> keys(100);
      for (int round = 0; round < 300; ++round) {
        for (auto& key : keys) key = static_cast<std::int64_t>(random() % 100000);
        PushRequest request;
        request.now = static_cast<std::uint32_t>(round);
        table.push({keys.data(), 100}, {DType::kFloat32, gradients.data()}, nullptr, request);
        clock = static_cast<std::uint32_t>(round);
        if (round % 10 == 3) table.remove({keys.data(), 50});
        if (round == 150 && worker == 0) table.clear();
      }
    });
  }
  std::thread restrictor([&] {
    while (!done) {
      RestrictRequest request;
      request.num_reserved = 2000;
      request.trigger = 4000;
      request.score = Score::kLastUsed;
      const RestrictReport report = table.restrict_rows(request);
      CHECK(report.evicted <= report.rows_before);
    }
  });
  std::thread cycles([&] {
    while (!done) {
      table.evict_cycle({3000, 0, 0.9, EvictionPolicy::kLfu, clock, 1.0});
      table.expire(100, clock, 1.0);
      table.stats();
    }
  });
  for (auto& worker : workers) worker.join();
  done = true;
  restrictor.join();
  cycles.join();
  std::uint64_t stored = 0;
  for (std::uint32_t bucket = 0; bucket < 16; ++bucket) {
    const ExportedRows rows = table.export_bucket(bucket, false);
    stored += rows.keys.size();
    for (std::size_t i = 0; i < rows.keys.size(); ++i) {
      check_whole(rows.values.data() + i * kDim);
      CHECK_EQ(static_cast<float>(rows.frequency[i]),
               rows.values[i * kDim]);  // A row and its count come and go together.
    }
  }
  CHECK_EQ(table.size(), stored);
}

// Two restrictions of a table so large that each takes several threads, while rows are written.
TEST(threads, restrict_spreads_over_threads_while_rows_are_written) {
  TableOptions options;
  options.name = "t";
  options.dim = 1;
  RowTable table(options, Initializer("zeros", 0, 0, 0), Optimizer("sgd", {{"learning_rate", 1.0}}));
  std::vector<std::int64_t> keys(150000);
  for (std::size_t i = 0; i < keys.size(); ++i) keys[i] = static_cast<std::int64_t>(i);
  const std::vector<float> values(keys.size(), 1.0F);
  table.upsert({keys.data(), keys.size()}, {DType::kFloat32, values.data()}, 1, 0);
  std::atomic<bool> done{false};
  std::thread writer([&] {
    for (std::size_t at = 0; !done; at = (at + 100) % keys.size()) table.touch({keys.data() + at, 100}, nullptr, 2);
  });
  for (const std::uint64_t reserved : {140000U, 20000U}) {
    const RestrictReport report = table.restrict_rows({reserved, reserved, Score::kFrequency, 1, 0});
    CHECK(report.rows_after >= reserved);
    CHECK_EQ(report.evicted, report.gone.keys.size());
    CHECK_EQ(table.size(), report.rows_after);
  }
  done = true;
  writer.join();
}

}  // namespace
}  // namespace rowbank
