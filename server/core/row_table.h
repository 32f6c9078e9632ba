// A table of embedding rows in RAM: keys to values, optimizer state and metadata.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "access_sample.h"
#include "arena.h"
#include "batch.h"
#include "bucket.h"
#include "common_row.h"
#include "dtype.h"
#include "initializer.h"
#include "optimizer.h"
#include "rank.h"
#include "row.h"

namespace rowbank {

struct Touched;  // See table_visit.h.

enum class RowStatus : std::uint8_t { kFound = 1, kInitialized = 2, kNotAdmitted = 3 };  // As on the wire.

struct TableOptions {
  std::string name;
  std::size_t dim = 0;
  DType value_dtype = DType::kFloat32;
  std::uint32_t bucket_count = 256;
  double half_life_s = 0;       // 0: frequencies never decay.
  bool track_reads = false;     // A pull renews last_used.
  std::uint32_t min_count = 0;  // Above 1: a key gets its row at its n-th occurrence; see AdmissionSketch.
  std::size_t admission_window = std::size_t{1} << 20;  // Occurrences of keys without rows until half is forgotten.
  std::uint32_t regret_window_s = 3600;  // A push of a key that was evicted no longer ago than this is regretted.
};

struct KeySpan {
  const std::int64_t* data;
  std::size_t size;
};
// Row-major [keys, dim]; of kInt8, rows one after the other as int8_rows.h has them.
struct ValuesIn {
  DType type;
  const void* data;
};
struct ValuesOut {
  DType type;
  void* data;
};

// What becomes of absent keys in a push: by their counts, as always; all get rows; or all keys train the common row.
// The latter two repeat a push whose outcome is known.
enum class Admission : std::uint8_t { kByCount, kOwn, kCommon };
struct PushRequest {
  std::uint64_t step = 1;
  std::uint32_t now = 0;
  std::uint64_t position = 0;
  PushOverrides overrides;
  Admission admission = Admission::kByCount;
};
struct PushCounts {
  std::uint64_t distinct = 0;
  std::uint64_t inserted = 0;
  std::uint64_t not_admitted = 0;  // Distinct keys whose gradients went to the common row.
};
struct ExportedRows {
  std::vector<std::int64_t> keys;
  std::vector<float> values;  // [keys, dim]
  std::vector<std::uint32_t> frequency;
  std::vector<std::uint32_t> last_used;
  std::vector<float> slots;  // [keys, slot_width], empty unless asked for.

  void reserve(std::size_t rows, const RowLayout& layout, bool with_slots);
};
struct ImportColumns {
  const float* values = nullptr;             // [keys, dim]
  const std::uint32_t* frequency = nullptr;  // Null: kept, 0 for new rows.
  const std::uint32_t* last_used = nullptr;  // Null: now.
  const float* slots = nullptr;              // [keys, slot_width]; null: kept, initial for new rows.
};
struct DirtyRows {
  std::vector<std::int64_t> keys;
  std::vector<char> packed;  // keys.size() * packed_row_bytes
  std::vector<std::int64_t> removed_keys;
};
struct PackedRows {
  std::vector<std::int64_t> keys;
  std::vector<char> packed;  // keys.size() * packed_row_bytes
};
// A row as it was packed, and the key it was filed under.
struct FiledRow {
  std::int64_t key;
  const char* packed;
};

struct LoadedRows {
  std::uint64_t loaded = 0;
  std::vector<std::int64_t> corrupt_keys;
};
// Rows that eviction took, as they were: parallel columns.
struct EvictedRows {
  std::vector<std::int64_t> keys;
  std::vector<std::uint32_t> frequency;  // As `lookup` says it: of the time of the last use.
  std::vector<std::uint32_t> last_used;
  // Of those that were kept as `keep_evicted` has it: keys, and their packed rows one after the other.
  std::vector<std::int64_t> packed_keys;
  std::vector<char> packed;

  void reserve(std::size_t rows);
  void add(const RowHeader& header, const FrequencyClock& clock) {
    keys.push_back(header.key());
    frequency.push_back(clock.to_count(header.usage().frequency));
    last_used.push_back(header.usage().last_used);
  }
  void append(const EvictedRows& more);
};
struct RestrictRequest {
  std::uint64_t num_reserved = 0;
  std::uint64_t trigger = 0;
  Score score = Score::kFrequency;
  std::uint32_t now = 0;
  std::size_t sample = 0;  // How many of the evicted keys to name.
};
struct RestrictReport {
  std::uint64_t rows_before = 0;
  std::uint64_t rows_after = 0;
  std::uint64_t evicted = 0;
  std::uint64_t bytes = 0;  // Of the evicted rows.
  double score_cut = 0;     // The highest score that was evicted; 0 when nothing was.
  std::vector<std::int64_t> sample_keys;
  EvictedRows gone;  // All of them.
};
// Where a row stands in the order of eviction: the lower standing goes first, then the lower lot. Alike on all shards.
struct Place {
  std::uint64_t standing = 0;
  std::uint64_t lot = 0;
};
struct RanksRequest {
  Score score = Score::kFrequency;
  std::uint32_t now = 0;
  std::optional<Place> low;   // None: from the first to go.
  std::optional<Place> high;  // None: to the last.
  std::size_t limit = 0;
};
struct Ranks {
  std::uint64_t rows = 0;
  std::uint64_t below = 0;   // Rows before `low`.
  std::uint64_t within = 0;  // Rows from `low` to `high`, both included.
  // Of those: all if they are at most `limit`, else about as many, spread evenly; in no order.
  std::vector<std::uint64_t> standings;
  std::vector<std::uint64_t> lots;
};
enum class CycleOutcome : std::uint8_t { kBelowWatermark, kOutOfTime, kNothingToEvict, kComplete };
enum class EvictionPolicy : std::uint8_t { kNone, kLfu, kLru };
struct CycleRequest {
  std::uint64_t max_rows = 0;   // 0: no cap.
  std::uint64_t max_bytes = 0;  // 0: no cap. Counted in row_bytes() a row.
  double low_watermark = 0.9;   // Fraction of the cap that a cycle evicts down to.
  EvictionPolicy policy = EvictionPolicy::kNone;
  std::uint32_t now = 0;
  double budget_ms = 0;
};
struct CycleReport {
  CycleOutcome outcome = CycleOutcome::kBelowWatermark;
  std::uint64_t evicted = 0;
  std::uint64_t bytes = 0;  // row_bytes() a row.
  double score_cut = 0;     // Rows that score less went first; 0 when nothing went.
  double duration_ms = 0;
  EvictedRows gone;
};
// Counts since the table was made.
struct TableStats {
  std::uint64_t pulled_found = 0;
  std::uint64_t pulled_initialized = 0;
  std::uint64_t pulled_not_admitted = 0;
  std::uint64_t pushed = 0;  // Distinct keys a push.
  std::uint64_t inserted = 0;
  std::uint64_t not_admitted = 0;  // Of those pushed.
  std::uint64_t evicted = 0;       // By restrict and by capacity.
  std::uint64_t expired = 0;
  std::uint64_t removed = 0;  // By callers, clear included.
  std::uint64_t regretted = 0;
};
struct RowDescription {
  std::uint32_t bucket = 0;
  std::uint32_t frequency = 0;
  std::uint32_t last_used = 0;
  std::uint64_t position = 0;
  bool dirty = false;
  std::vector<float> values;
  std::vector<float> slots;
};
struct TopRows {
  std::vector<std::int64_t> keys;
  std::vector<std::uint32_t> frequency;
  std::vector<std::uint32_t> last_used;
};

// A policy to try in thought, for this table's part of the rows.
struct WhatIf {
  EvictionPolicy policy = EvictionPolicy::kNone;
  std::uint64_t cap_rows = 0;  // 0: none.
  double low_watermark = 0.9;
  double half_life_s = 0;
  std::uint32_t ttl_s = 0;  // 0: none.
  std::uint32_t min_count = 0;
};
// What it would have done with the sampled keys in the second half of the sample, and with the rows that there are.
struct SimulatedPolicy {
  std::uint64_t pulls = 0;
  std::uint64_t pull_hits = 0;
  std::uint64_t pushes = 0;
  std::uint64_t push_hits = 0;
  std::uint64_t live_pull_hits = 0;  // What the table itself found.
  std::uint64_t live_push_hits = 0;
  std::uint64_t regretted = 0;
  std::uint64_t evicted = 0;
  double all_pulls = 0;  // Of all keys, sampled or not, meanwhile; about.
  double all_pushes = 0;
  double rate = 1;  // Of keys that are sampled.
  double rows_at_end = 0;
  double counted_s = 0;
  std::uint64_t rows_kept_now = 0;  // Of the rows that there are, if it were the policy from now on.
};
struct Simulated {
  std::uint64_t rows = 0;  // That there are.
  std::size_t accesses = 0;
  double rate = 0;
  double sampled_s = 0;  // From the first access of the sample to its last.
  std::vector<SimulatedPolicy> policies;
};
// Rows by the power of two that their frequency, or the seconds since their last use, lies below: 0, 1, 2 to 3 ...
struct UsageHistogram {
  static constexpr std::size_t kLevels = 33;
  std::uint64_t rows = 0;
  std::vector<std::uint64_t> frequencies;
  std::vector<std::uint64_t> ages;
};
// Where one row stands: so many rows go before it.
struct Standing {
  std::uint64_t rows = 0;
  std::uint64_t before = 0;
  double score = 0;
};

class Stopwatch {
 public:
  double elapsed_ms() const {
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// All methods are thread-safe. Each key's operations are linearizable: a key lives in one bucket, a bucket is read
// under a shared lock and written under an exclusive one. A batch is not atomic across keys. Arguments are checked by
// the caller for shape; numbers are checked here, before anything is changed, with std::invalid_argument.
class RowTable {
 public:
  RowTable(TableOptions options, Initializer initializer, Optimizer optimizer);

  const TableOptions& options() const { return options_; }
  const RowLayout& layout() const { return layout_; }
  std::vector<std::string> slot_names() const;
  std::size_t packed_row_bytes() const;

  // Reads. out [keys, dim]; status [keys] of RowStatus. Absent keys read their initial values and stay absent.
  void pull(KeySpan keys, ValuesOut out, std::uint8_t* status, std::uint32_t now);
  // Absent keys read zeros. `frequency`, `last_used` and `positions` may be null.
  void lookup(KeySpan keys, ValuesOut out, std::uint8_t* found, std::uint32_t* frequency, std::uint32_t* last_used,
              std::uint64_t* positions = nullptr) const;
  // Which keys have rows.
  void contains(KeySpan keys, std::uint8_t* found) const;
  // As `lookup` says them, without the values.
  void usage(KeySpan keys, std::uint8_t* found, std::uint32_t* frequency, std::uint32_t* last_used) const;
  // How often each row was used, as `lookup` says it; 0 where absent.
  void frequencies(KeySpan keys, std::uint32_t* out) const;
  // The position last applied to each row; 0 where absent.
  void positions(KeySpan keys, std::uint64_t* out) const;
  std::optional<RowDescription> describe(std::int64_t key) const;
  std::vector<float> initial_value(std::int64_t key) const;
  ExportedRows export_bucket(std::uint32_t bucket, bool with_slots) const;

  // A picture of the whole table at one moment, while it goes on changing. REQUIRES: no write is under way in freeze,
  // else a batch may be in the picture in part. Rows are copied when they are first changed after it, so the picture
  // costs memory only for those, and until their bucket is exported: each bucket can be exported once, by one
  // thread, beside which nobody freezes or thaws. Reads that renew last_used show in it. Throws std::logic_error if the
  // bucket is not in a picture.
  void freeze();
  ExportedRows export_frozen(std::uint32_t bucket, bool with_slots);
  void thaw();
  TopRows top(std::size_t limit, Score score, std::uint32_t now) const;
  // Counted after each batch, so it can lag behind batches that are under way.
  std::uint64_t size() const {
    return static_cast<std::uint64_t>(std::max<std::int64_t>(rows_.load(std::memory_order_relaxed), 0));
  }
  std::uint64_t bytes() const;
  // What one row costs: its stride, its header and its share of the index.
  std::uint64_t row_bytes() const;
  // Bytes that so many new rows take, at worst: a bucket takes memory for about an eighth more rows at a time.
  std::uint64_t growth_bytes(std::uint64_t rows) const;
  TableStats stats() const;

  // Writes. Gradients of a repeated key are summed in input order, then applied once; frequency grows by the key's
  // counts (1 each when `counts` is null). An absent key starts from its initial values and slots.
  PushCounts push(KeySpan keys, ValuesIn gradients, const std::uint32_t* counts, const PushRequest& request);
  // Sets values; of a repeated key the last counts. New rows get initial slots and frequency 0. Returns rows added.
  // With `touch`, here and below, each key that has a row then counts as in `touch`, at once: whoever sees the one sees
  // the other.
  std::uint64_t upsert(KeySpan keys, ValuesIn values, std::uint32_t now, std::uint64_t position, bool touch = false);
  // Per key: present and exists adds; absent and not exists inserts the delta as the values; otherwise nothing happens.
  std::uint64_t accumulate(KeySpan keys, ValuesIn deltas, const std::uint8_t* exists, std::uint32_t now,
                           std::uint64_t position, bool touch = false);
  std::uint64_t touch(KeySpan keys, const std::uint32_t* counts, std::uint32_t now, std::uint64_t position = 0);
  std::uint64_t remove(KeySpan keys);
  std::uint64_t import_rows(KeySpan keys, const ImportColumns& columns, std::uint32_t now, std::uint64_t position = 0);
  // Adds rows as take_dirty packed them, of keys that have none; of a repeated key the first. They are dirty, and have
  // seen `position`. Returns how many were added; damaged ones are left out.
  std::uint64_t add_packed(KeySpan keys, const char* packed, std::uint64_t position);
  // What is evicted from now on is packed as it goes, up to about so many bytes a call; 0: nothing.
  void keep_evicted(std::size_t max_bytes) { kept_bytes_.store(max_bytes, std::memory_order_relaxed); }
  // Removes all rows and forgets what was dirty: whoever mirrors the rows elsewhere must delete the mirror whole.
  std::uint64_t clear();
  // The optimizer must be of the same kind and have the same slots.
  void set_hyperparameters(const Optimizer& optimizer);
  // Throws std::invalid_argument above AdmissionSketch::kMaxCount.
  void set_min_count(std::uint32_t min_count);
  std::uint32_t min_count() const { return min_count_.load(std::memory_order_relaxed); }

  // The row of the keys that were not admitted, to be written back beside the buckets.
  CommonRow& common_row() { return common_row_; }
  const CommonRow& common_row() const { return common_row_; }

  // Write-back. A row is dirty from its change until it is taken.
  std::vector<std::uint32_t> dirty_buckets() const;
  std::uint64_t dirty_rows() const;
  DirtyRows take_dirty(std::uint32_t bucket, std::size_t max_rows);
  void mark_dirty(std::uint32_t bucket, KeySpan keys);
  // Takes all dirty marks of the bucket; returns the changed and removed keys, each once.
  std::vector<std::int64_t> take_dirty_keys(std::uint32_t bucket);
  // All rows of the bucket as take_dirty would pack them; leaves the marks.
  PackedRows pack_bucket(std::uint32_t bucket) const;
  // Those of `keys` that have rows, as take_dirty would pack them.
  PackedRows pack_rows(KeySpan keys) const;
  // Puts back rows as take_dirty packed them. Rows whose checksum fails or that belong to another bucket are reported
  // and left out. Loaded rows are not dirty.
  LoadedRows load_bucket(std::uint32_t bucket, KeySpan keys, const char* packed);
  // The same of rows that lie apart.
  LoadedRows load_rows(std::uint32_t bucket, const FiledRow* rows, std::size_t count);

  // Keeps exactly the num_reserved best rows when there are more than `trigger`.
  RestrictReport restrict_rows(const RestrictRequest& request);
  // What restrict_rows would report now.
  RestrictReport preview_restrict(const RestrictRequest& request) const;
  // How many rows stand where in the order of eviction, for a cut through the rows of several shards.
  Ranks ranks(const RanksRequest& request) const;
  // What other policies would do; see simulation.h. Reads all metadata once.
  Simulated simulate(const std::vector<WhatIf>& what_ifs, std::uint32_t now) const;
  UsageHistogram histogram(std::uint32_t now) const;
  // None: there is no row.
  std::optional<Standing> standing(std::int64_t key, Score score, std::uint32_t now) const;
  // About how often a key without a row was pushed lately; see AdmissionSketch.
  std::uint32_t seen(std::int64_t key) const;
  AccessSample& access_sample() { return access_sample_; }
  const AccessSample& access_sample() const { return access_sample_; }
  // When a cap is passed, evicts the worst rows down to the low watermark, for at most about budget_ms.
  CycleReport evict_cycle(const CycleRequest& request);
  // Removes rows that were last used more than ttl_s before now, for at most about budget_ms; the next call goes on
  // where this one stopped.
  CycleReport expire(std::uint32_t ttl_s, std::uint32_t now, double budget_ms);

 private:
  struct Census;
  struct Cut;
  struct RowWriter;
  struct Counters {
    std::atomic<std::uint64_t> pulled_found{0}, pulled_initialized{0}, pulled_not_admitted{0};
    std::atomic<std::uint64_t> pushed{0}, inserted{0}, not_admitted{0};
    std::atomic<std::uint64_t> evicted{0}, expired{0}, removed{0}, regretted{0};
  };

  Bucket& bucket_of(std::uint64_t hash) const { return buckets_[bucket_of_hash(hash, options_.bucket_count)]; }
  void check_bucket(std::uint32_t bucket) const;

  // Visits the batch's keys under the locks of their buckets; act(bucket, place, hash, ref) with ref kNoRow for absent
  // keys. `Lock` is std::shared_lock or std::unique_lock of std::shared_mutex. See table_visit.h.
  template <typename Lock, typename Act>
  void visit(const Batch& batch, Touched touched, Act act) const;

  void append_row(const RowHeader& header, const char* row, bool with_slots, ExportedRows& rows) const;
  void read_row(const char* row, ValuesOut out, std::size_t place, float* scratch) const;
  void write_values(char* row, ValuesIn in, std::size_t place, float* scratch);
  void fill_initial(char* row, std::uint64_t hash, float* scratch);
  void renew(RowHeader& header, std::uint32_t now) const;
  std::shared_ptr<const Optimizer> optimizer() const;

  std::pair<Rank, Rank> bracket(const RestrictRequest& request, std::uint64_t rows) const;
  Census take_census(const RestrictRequest& request, Rank low, Rank high) const;
  Cut find_cut(const RestrictRequest& request) const;
  // The first `count` rows to go.
  std::vector<std::int64_t> lowest_keys(const RestrictRequest& request, std::size_t count) const;
  std::vector<Rank> sample_rows(Score score, std::uint32_t now, double share, std::size_t round) const;
  std::uint64_t capacity_rows(const CycleRequest& request) const;
  std::uint64_t evict_round(const CycleRequest& request, std::uint64_t goal, std::size_t round, const Stopwatch& watch,
                            CycleReport& report);
  // Evicts up to `limit` rows of the bucket for which doomed(header) holds and adds them to `gone`; see table_evict.h.
  template <typename Doomed>
  std::uint64_t evict_where(Bucket& bucket, std::uint64_t limit, std::uint32_t now, Doomed doomed, EvictedRows& gone);
  std::vector<float> initial_common_values() const;

  const TableOptions options_;
  const Initializer initializer_;
  const std::uint64_t salt_;
  const RowLayout layout_;
  const FrequencyClock clock_;
  mutable std::mutex optimizer_mutex_;
  std::shared_ptr<const Optimizer> optimizer_;
  Arena arena_;
  std::unique_ptr<Bucket[]> buckets_;
  std::atomic<std::uint32_t> min_count_;
  std::atomic<std::size_t> kept_bytes_{0};
  CommonRow common_row_;
  Counters counters_;
  AccessSample access_sample_;
  std::mutex cycle_mutex_;  // One eviction or expiry at a time.
  std::uint32_t evict_cursor_ = 0;
  bool evict_unfinished_ = false;
  std::uint32_t expire_cursor_ = 0;
  std::atomic<std::int64_t> rows_{0};
};

}  // namespace rowbank
