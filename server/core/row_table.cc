// Construction and reads; writes are in row_table_write.cc, write-back in row_table_store.cc, ranking in
// row_table_rank.cc.
#include "row_table.h"

#include <cmath>
#include <stdexcept>

#include "sampling.h"
#include "table_visit.h"

namespace rowbank {
namespace {

constexpr std::size_t kMaxDim = 4096;
constexpr std::uint32_t kMaxBuckets = 65536;

TableOptions checked(TableOptions options) {
  if (options.dim < 1 || options.dim > kMaxDim) {
    throw std::invalid_argument("dim must be in 1.." + std::to_string(kMaxDim) + ", got " +
                                std::to_string(options.dim));
  }
  if (options.bucket_count < 1 || options.bucket_count > kMaxBuckets) {
    throw std::invalid_argument("bucket_count must be in 1.." + std::to_string(kMaxBuckets) + ", got " +
                                std::to_string(options.bucket_count));
  }
  if (!std::isfinite(options.half_life_s) || options.half_life_s < 0) {
    throw std::invalid_argument("half_life_s must be a finite number of at least 0 (0: no decay), got " +
                                std::to_string(options.half_life_s));
  }
  return options;
}

std::uint32_t checked_min_count(std::uint32_t min_count) {
  if (min_count > AdmissionSketch::kMaxCount) {
    throw std::invalid_argument("min_count must be in 0.." + std::to_string(AdmissionSketch::kMaxCount) +
                                " (0 and 1: every key is admitted), got " + std::to_string(min_count));
  }
  return min_count;
}

}  // namespace

RowTable::RowTable(TableOptions options, Initializer initializer, Optimizer optimizer)
    : options_(checked(std::move(options))),
      initializer_(initializer),
      salt_(initializer.salt(options_.name)),
      layout_(RowLayout::make(options_.dim, options_.value_dtype, optimizer.slot_width(options_.dim))),
      clock_(options_.half_life_s),
      optimizer_(std::make_shared<const Optimizer>(std::move(optimizer))),
      arena_(layout_.stride),
      buckets_(std::make_unique<Bucket[]>(options_.bucket_count)),
      min_count_(checked_min_count(options_.min_count)),
      common_row_(initial_common_values(), *optimizer_) {
  for (std::uint32_t bucket = 0; bucket < options_.bucket_count; ++bucket) {
    buckets_[bucket].attach(&arena_);
  }
}

void RowTable::set_min_count(std::uint32_t min_count) {
  min_count_.store(checked_min_count(min_count), std::memory_order_relaxed);
}

// A draw of its own, from a name that no table can have.
std::vector<float> RowTable::initial_common_values() const {
  std::vector<float> values(layout_.dim);
  initializer_.fill(initializer_.salt(options_.name + "\ncommon row"), 0, values.data(), layout_.dim);
  return values;
}

std::shared_ptr<const Optimizer> RowTable::optimizer() const {
  const std::lock_guard lock(optimizer_mutex_);
  return optimizer_;
}

void RowTable::set_hyperparameters(const Optimizer& optimizer) {
  const std::lock_guard lock(optimizer_mutex_);
  if (optimizer.kind() != optimizer_->kind() || optimizer.slot_names() != optimizer_->slot_names()) {
    throw std::invalid_argument("table " + options_.name +
                                ": an optimizer's kind and slots are fixed while rows exist; "
                                "it has " +
                                optimizer_->kind_name() + ", got " + optimizer.kind_name() +
                                (optimizer.kind() == optimizer_->kind() ? " with other slots" : ""));
  }
  optimizer_ = std::make_shared<const Optimizer>(optimizer);
}

std::vector<std::string> RowTable::slot_names() const {
  return optimizer()->slot_names();
}

void RowTable::check_bucket(std::uint32_t bucket) const {
  if (bucket >= options_.bucket_count) {
    throw std::invalid_argument("bucket must be below " + std::to_string(options_.bucket_count) + ", got " +
                                std::to_string(bucket));
  }
}

void RowTable::read_row(const char* row, ValuesOut out, std::size_t place, float* scratch) const {
  char* target = static_cast<char*>(out.data) + place * rowbank::row_bytes(out.type, layout_.dim);
  convert(layout_.type, row, out.type, target, layout_.dim, scratch);
}

// Reads hold only a shared lock, so renewing is a compare-and-swap; losing the race to another reader is fine.
void RowTable::renew(RowHeader& header, std::uint32_t now) const {
  const Usage usage = header.usage();
  if (usage.last_used < now) {
    header.replace_usage(usage, clock_.used(usage, 0, now));
  }
}

void RowTable::pull(KeySpan keys, ValuesOut out, std::uint8_t* status, std::uint32_t now) {
  const Batch batch(keys.data, keys.size, options_.bucket_count);
  const bool admits_all = min_count_.load(std::memory_order_relaxed) <= 1;
  float* scratch = thread_scratch(2 * layout_.dim);
  float* common = scratch + layout_.dim;
  const std::size_t row_bytes = rowbank::row_bytes(out.type, layout_.dim);
  std::uint64_t found = 0;
  if (!admits_all) {
    common_row_.read(common);
  }
  Sampling sampling(access_sample_, false, now);
  // What is known of a row is not read where a pull does not renew it.
  visit<SharedLock>(batch, {layout_.value_bytes, options_.track_reads},
                    [&](Bucket& bucket, std::uint32_t place, std::uint64_t hash, RowRef ref) {
                      if (sampling.wants(hash)) [[unlikely]] {
                        sampling.see(hash, ref != kNoRow ? &bucket.header(ref) : nullptr, 0);
                      }
                      if (ref != kNoRow) {
                        read_row(bucket.row(ref), out, place, scratch);
                        status[place] = static_cast<std::uint8_t>(RowStatus::kFound);
                        ++found;
                        if (options_.track_reads) {
                          renew(bucket.header(ref), now);
                        }
                        return;
                      }
                      if (admits_all) {
                        initializer_.fill(salt_, hash, scratch, layout_.dim);
                      }
                      from_float(out.type, admits_all ? scratch : common,
                                 static_cast<char*>(out.data) + place * row_bytes, layout_.dim);
                      status[place] =
                          static_cast<std::uint8_t>(admits_all ? RowStatus::kInitialized : RowStatus::kNotAdmitted);
                    });
  sampling.end(keys.size, size());
  counters_.pulled_found.fetch_add(found, std::memory_order_relaxed);
  auto& absent = admits_all ? counters_.pulled_initialized : counters_.pulled_not_admitted;
  absent.fetch_add(keys.size - found, std::memory_order_relaxed);
}

void RowTable::lookup(KeySpan keys, ValuesOut out, std::uint8_t* found, std::uint32_t* frequency,
                      std::uint32_t* last_used, std::uint64_t* positions) const {
  const Batch batch(keys.data, keys.size, options_.bucket_count);
  float* scratch = thread_scratch(layout_.dim);
  const std::size_t row_bytes = rowbank::row_bytes(out.type, layout_.dim);
  const bool header = frequency != nullptr || last_used != nullptr || positions != nullptr;
  const Touched touched{layout_.value_bytes, header};
  visit<SharedLock>(batch, touched, [&](Bucket& bucket, std::uint32_t place, std::uint64_t, RowRef ref) {
    Usage usage;
    std::uint64_t position = 0;
    if (ref != kNoRow) {
      read_row(bucket.row(ref), out, place, scratch);
      if (header) {
        usage = bucket.header(ref).usage();
        position = bucket.header(ref).position();
        usage.frequency = clock_.to_count(usage.frequency);
      }
    } else {
      std::memset(static_cast<char*>(out.data) + place * row_bytes, 0, row_bytes);
    }
    found[place] = ref != kNoRow ? 1 : 0;
    if (frequency != nullptr) frequency[place] = usage.frequency;
    if (last_used != nullptr) last_used[place] = usage.last_used;
    if (positions != nullptr) positions[place] = position;
  });
}

std::optional<RowDescription> RowTable::describe(std::int64_t key) const {
  const std::uint64_t hash = hash_key(key);
  const Bucket& bucket = bucket_of(hash);
  const SharedLock lock(bucket.mutex());
  const RowRef ref = bucket.find(hash);
  if (ref == kNoRow) {
    return std::nullopt;
  }
  const char* row = bucket.row(ref);
  const RowHeader& header = bucket.header(ref);
  RowDescription description;
  description.bucket = bucket_of_hash(hash, options_.bucket_count);
  description.frequency = clock_.to_count(header.usage().frequency);
  description.last_used = header.usage().last_used;
  description.position = header.position();
  description.dirty = header.dirty();
  description.values.resize(layout_.dim);
  to_float(layout_.type, row, description.values.data(), layout_.dim);
  description.slots.assign(layout_.slots(row), layout_.slots(row) + layout_.slot_width);
  return description;
}

// As a pull of the absent key would read it: rounded to the stored type.
std::vector<float> RowTable::initial_value(std::int64_t key) const {
  std::vector<float> values(layout_.dim);
  initializer_.fill(salt_, hash_key(key), values.data(), layout_.dim);
  if (layout_.type != DType::kFloat32) {
    std::vector<std::uint16_t> stored(layout_.dim);
    from_float(layout_.type, values.data(), stored.data(), layout_.dim);
    to_float(layout_.type, stored.data(), values.data(), layout_.dim);
  }
  return values;
}

ExportedRows RowTable::export_bucket(std::uint32_t bucket_number, bool with_slots) const {
  check_bucket(bucket_number);
  const Bucket& bucket = buckets_[bucket_number];
  const SharedLock lock(bucket.mutex());
  ExportedRows rows;
  rows.reserve(bucket.size(), layout_, with_slots);
  bucket.for_each_row(
      [&](RowRef ref, const RowHeader& header) { append_row(header, bucket.row(ref), with_slots, rows); });
  return rows;
}

// Problem: a bucket is megabytes, and whoever wants it meanwhile would wait for all of them to be copied. Idea: take
// down which rows there were, then copy few at a time; a row that changes in between was kept as it was.
ExportedRows RowTable::export_frozen(std::uint32_t bucket_number, bool with_slots) {
  constexpr std::size_t kRowsAtOnce = 128;
  check_bucket(bucket_number);
  Bucket& bucket = buckets_[bucket_number];
  const auto require_frozen = [&] {
    if (!bucket.frozen()) {
      throw std::logic_error("bucket " + std::to_string(bucket_number) + " is in no picture, or was exported already");
    }
  };
  std::vector<std::uint64_t> hashes;
  {
    const SharedLock lock(bucket.mutex());
    require_frozen();
    hashes.reserve(bucket.size());
    bucket.for_each_frozen([&](const RowHeader& header, const char*) { hashes.push_back(header.hash); });
  }
  ExportedRows rows;
  rows.reserve(hashes.size(), layout_, with_slots);
  for (std::size_t first = 0; first < hashes.size(); first += kRowsAtOnce) {
    const SharedLock lock(bucket.mutex());
    require_frozen();
    const std::size_t end = std::min(first + kRowsAtOnce, hashes.size());
    for (std::size_t i = first; i < end; ++i) {
      bucket.visit_frozen(hashes[i],
                          [&](const RowHeader& header, const char* row) { append_row(header, row, with_slots, rows); });
    }
  }
  std::unique_ptr<Bucket::FrozenRows> copies;  // Declared first, so that they are freed after the lock.
  const UniqueLock lock(bucket.mutex());
  copies = bucket.thaw();
  return rows;
}

void RowTable::freeze() {
  for (std::uint32_t bucket = 0; bucket < options_.bucket_count; ++bucket) {
    const UniqueLock lock(buckets_[bucket].mutex());
    buckets_[bucket].freeze();
  }
}

void RowTable::thaw() {
  for (std::uint32_t bucket = 0; bucket < options_.bucket_count; ++bucket) {
    std::unique_ptr<Bucket::FrozenRows> copies;  // Declared first, so that they are freed after the lock.
    const UniqueLock lock(buckets_[bucket].mutex());
    copies = buckets_[bucket].thaw();
  }
}

void ExportedRows::reserve(std::size_t rows, const RowLayout& layout, bool with_slots) {
  keys.reserve(rows);
  frequency.reserve(rows);
  last_used.reserve(rows);
  values.reserve(rows * layout.dim);
  slots.reserve(with_slots ? rows * layout.slot_width : 0);
}

void RowTable::append_row(const RowHeader& header, const char* row, bool with_slots, ExportedRows& rows) const {
  rows.keys.push_back(header.key());
  rows.frequency.push_back(clock_.to_count(header.usage().frequency));
  rows.last_used.push_back(header.usage().last_used);
  rows.values.resize(rows.values.size() + layout_.dim);
  to_float(layout_.type, row, rows.values.data() + rows.values.size() - layout_.dim, layout_.dim);
  if (with_slots) {
    rows.slots.insert(rows.slots.end(), layout_.slots(row), layout_.slots(row) + layout_.slot_width);
  }
}

std::uint64_t RowTable::bytes() const {
  std::uint64_t total = arena_.lent_bytes() + options_.bucket_count * sizeof(Bucket);
  for (std::uint32_t bucket = 0; bucket < options_.bucket_count; ++bucket) {
    const SharedLock lock(buckets_[bucket].mutex());
    total += buckets_[bucket].side_bytes();
  }
  return total;
}

// An index group of 64 bytes holds between two thirds and all of kFillPerGroup entries, 2.5 on average.
std::uint64_t RowTable::row_bytes() const {
  return layout_.stride + sizeof(RowHeader) + 26;
}

std::uint64_t RowTable::growth_bytes(std::uint64_t rows) const {
  constexpr std::uint64_t kBucketsRows = 256;  // Each new row may be one too many for its bucket.
  constexpr std::uint64_t kGrowthStep = 8;
  return rows * row_bytes() + std::min(size(), rows * kBucketsRows) * row_bytes() / kGrowthStep;
}

TableStats RowTable::stats() const {
  const auto read = [](const std::atomic<std::uint64_t>& counter) { return counter.load(std::memory_order_relaxed); };
  TableStats stats;
  stats.pulled_found = read(counters_.pulled_found);
  stats.pulled_initialized = read(counters_.pulled_initialized);
  stats.pulled_not_admitted = read(counters_.pulled_not_admitted);
  stats.pushed = read(counters_.pushed);
  stats.inserted = read(counters_.inserted);
  stats.not_admitted = read(counters_.not_admitted);
  stats.evicted = read(counters_.evicted);
  stats.expired = read(counters_.expired);
  stats.removed = read(counters_.removed);
  stats.regretted = read(counters_.regretted);
  return stats;
}

}  // namespace rowbank
