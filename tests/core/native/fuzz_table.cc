// Drives a table and a plain map side by side from a stream of bytes and aborts at the first difference.
// Built with libFuzzer (Clang, -DROWBANK_FUZZER=ON) the bytes come from the fuzzer; otherwise `rowbank_fuzz_table
// ROUNDS [SEED]` makes them from a seeded generator and prints the seed.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <optional>
#include <random>
#include <vector>

#include "row_table.h"

namespace rowbank {
namespace {

constexpr std::size_t kDim = 2;

void require(bool holds, const char* what) {
  if (!holds) {
    std::fprintf(stderr, "fuzz_table: %s\n", what);
    std::abort();
  }
}

struct ModelRow {
  float value = 0;
  std::uint32_t frequency = 0;
  std::uint32_t last_used = 0;
};

class Driver {
 public:
  Driver(const std::uint8_t* data, std::size_t size)
      : at_(data), end_(data + size), table_(options(), Initializer("constant", 3, 0, 0), Optimizer("sgd", rate())) {}

  void run() {
    while (at_ < end_) {
      ++now_;
      switch (next() % 11) {
        case 0:
        case 1:
        case 2:
          push();
          break;
        case 3:
          upsert();
          break;
        case 4:
          remove();
          break;
        case 5:
          restrict_rows();
          break;
        case 6:
          flush();
          break;
        case 7:
          touch();
          break;
        case 8:
          expire();
          break;
        case 9:
          picture();
          break;
        default:
          if (next() % 16 == 0) {
            require(table_.clear() == model_.size(), "clear counted wrong");
            model_.clear();
            stored_.clear();
          }
      }
      require(table_.size() == model_.size(), "sizes differ");
    }
    compare();
  }

 private:
  static TableOptions options() {
    TableOptions options;
    options.name = "fuzz";
    options.dim = kDim;
    options.bucket_count = 3;
    return options;
  }
  static std::map<std::string, double> rate() { return {{"learning_rate", 1.0}}; }

  std::uint8_t next() { return at_ < end_ ? *at_++ : 0; }

  std::vector<std::int64_t> keys() {
    std::vector<std::int64_t> keys(next() % 40U);
    for (auto& key : keys) key = (static_cast<std::int64_t>(next()) - 128) * (std::int64_t{1} << (next() % 56U));
    return keys;
  }

  void push() {
    const std::vector<std::int64_t> batch = keys();
    const std::vector<float> gradients(batch.size() * kDim, -1.0F);
    PushRequest request;
    request.now = now_;
    table_.push({batch.data(), batch.size()}, {DType::kFloat32, gradients.data()}, nullptr, request);
    for (const std::int64_t key : batch) {
      ModelRow& row = model_.try_emplace(key, ModelRow{3, 0, 0}).first->second;
      row.value += 1;
      row.frequency += 1;
      row.last_used = now_;
    }
  }

  void upsert() {
    const std::vector<std::int64_t> batch = keys();
    std::vector<float> values(batch.size() * kDim);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i / kDim);
    table_.upsert({batch.data(), batch.size()}, {DType::kFloat32, values.data()}, now_, 0);
    for (std::size_t i = 0; i < batch.size(); ++i) {
      ModelRow& row = model_[batch[i]];
      row.value = static_cast<float>(i);
      row.last_used = now_;
    }
  }

  void remove() {
    const std::vector<std::int64_t> batch = keys();
    std::uint64_t removed = 0;
    for (const std::int64_t key : batch) removed += model_.erase(key);
    require(table_.remove({batch.data(), batch.size()}) == removed, "remove counted wrong");
  }

  void touch() {
    const std::vector<std::int64_t> batch = keys();
    table_.touch({batch.data(), batch.size()}, nullptr, now_);
    for (const std::int64_t key : batch) {
      const auto found = model_.find(key);
      if (found != model_.end()) {
        found->second.frequency += 1;
        found->second.last_used = now_;
      }
    }
  }

  void restrict_rows() {
    RestrictRequest request;
    request.num_reserved = next();
    request.trigger = next();
    request.now = now_;
    request.score = next() % 2 == 0 ? Score::kFrequency : Score::kLastUsed;
    request.sample = 1000000;
    const RestrictReport report = table_.restrict_rows(request);
    const bool acts = model_.size() > request.trigger && model_.size() > request.num_reserved;
    require(report.evicted == (acts ? model_.size() - request.num_reserved : 0), "restrict evicted the wrong number");
    for (const std::int64_t key : report.sample_keys) {
      const auto found = model_.find(key);
      require(found != model_.end(), "restrict evicted an absent key");
      const double score = request.score == Score::kFrequency ? found->second.frequency : found->second.last_used;
      require(score <= report.score_cut, "restrict evicted above its cut");
      model_.erase(found);
    }
    for (const auto& [key, row] : model_) {
      const double score = request.score == Score::kFrequency ? row.frequency : row.last_used;
      require(!acts || score >= report.score_cut, "restrict kept a row below its cut");
    }
  }

  void expire() {
    const std::uint32_t ttl_s = next();
    const std::uint32_t oldest_kept = now_ > ttl_s ? now_ - ttl_s : 0;
    const CycleReport report = table_.expire(ttl_s, now_, 1e9);
    const std::size_t expired =
        std::erase_if(model_, [oldest_kept](const auto& entry) { return entry.second.last_used < oldest_kept; });
    require(report.evicted == expired && report.gone.keys.size() == expired, "expire counted wrong");
  }

  // Takes a picture of the table, and the next time looks whether it still shows what there was.
  void picture() {
    if (!picture_) {
      table_.freeze();
      picture_ = model_;
      return;
    }
    std::size_t rows = 0;
    for (std::uint32_t bucket = 0; bucket < options().bucket_count; ++bucket) {
      const ExportedRows exported = table_.export_frozen(bucket, false);
      rows += exported.keys.size();
      for (std::size_t i = 0; i < exported.keys.size(); ++i) {
        const auto found = picture_->find(exported.keys[i]);
        require(found != picture_->end(), "a picture shows a row that was not there");
        require(exported.values[i * kDim] == found->second.value && exported.frequency[i] == found->second.frequency &&
                    exported.last_used[i] == found->second.last_used,
                "a picture shows a later row");
      }
    }
    require(rows == picture_->size(), "a picture lacks rows");
    picture_.reset();
  }

  // What was taken, written to a map as to a store, must always equal the model.
  void flush() {
    for (const std::uint32_t bucket : table_.dirty_buckets()) {
      for (;;) {
        const DirtyRows rows = table_.take_dirty(bucket, 7);
        for (std::size_t i = 0; i < rows.keys.size(); ++i) {
          const char* packed = rows.packed.data() + i * table_.packed_row_bytes();
          stored_[rows.keys[i]].assign(packed, packed + table_.packed_row_bytes());
        }
        for (const std::int64_t key : rows.removed_keys) stored_.erase(key);
        if (rows.keys.empty() && rows.removed_keys.empty()) break;
      }
    }
    require(stored_.size() == model_.size(), "the written rows are not the stored rows");
    RowTable twin(options(), Initializer("zeros", 0, 0, 0), Optimizer("sgd", rate()));
    for (const auto& [key, packed] : stored_) {
      const std::uint32_t bucket = bucket_of_hash(hash_key(key), 3);
      require(twin.load_bucket(bucket, {&key, 1}, packed.data()).loaded == 1, "a written row does not load");
      require(same(twin, key), "a written row differs");
    }
  }

  bool same(const RowTable& table, std::int64_t key) const {
    const auto row = table.describe(key);
    const auto found = model_.find(key);
    if (!row || found == model_.end()) return !row && found == model_.end();
    return row->values[0] == found->second.value && row->values[1] == found->second.value &&
           row->frequency == found->second.frequency && row->last_used == found->second.last_used;
  }

  void compare() const {
    for (const auto& entry : model_) require(same(table_, entry.first), "a row differs from the model");
  }

  const std::uint8_t* at_;
  const std::uint8_t* end_;
  RowTable table_;
  std::map<std::int64_t, ModelRow> model_;
  std::optional<std::map<std::int64_t, ModelRow>> picture_;
  std::map<std::int64_t, std::vector<char>> stored_;
  std::uint32_t now_ = 0;
};

}  // namespace
}  // namespace rowbank

#ifdef ROWBANK_LIBFUZZER
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  rowbank::Driver(data, size).run();
  return 0;
}
#else
int main(int argc, char** argv) {
  const long rounds = argc > 1 ? std::atol(argv[1]) : 200;
  const std::uint64_t seed = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 20240607;
  std::printf("fuzz_table: %ld rounds from seed %llu\n", rounds, static_cast<unsigned long long>(seed));
  std::mt19937_64 random(seed);
  for (long round = 0; round < rounds; ++round) {
    std::vector<std::uint8_t> bytes(200 + random() % 20000);
    for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random());
    rowbank::Driver(bytes.data(), bytes.size()).run();
  }
  std::printf("fuzz_table: no difference found\n");
  return 0;
}
#endif
