// Eviction in the background: caps, and rows that grew too old.
#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "row_table.h"
#include "table_evict.h"

namespace rowbank {
namespace {

constexpr double kSampledRows = 65536;  // Smaller tables are ranked whole, so their cut is exact.
constexpr std::uint64_t kNoCap = std::numeric_limits<std::uint64_t>::max();

void check_budget(double budget_ms) {
  if (!std::isfinite(budget_ms) || budget_ms <= 0) {
    throw std::invalid_argument("budget_ms must be a finite number above 0, got " + std::to_string(budget_ms));
  }
}

// Under a shared lock, so that a pass that finds nothing to evict keeps no reader waiting.
template <typename Doomed>
bool any_row(const Bucket& bucket, Doomed doomed) {
  const SharedLock lock(bucket.mutex());
  bool any = false;
  bucket.for_each_row([&](RowRef, const RowHeader& header) { any |= doomed(header); });
  return any;
}

}  // namespace

void EvictedRows::reserve(std::size_t rows) {
  keys.reserve(rows);
  frequency.reserve(rows);
  last_used.reserve(rows);
}

void EvictedRows::append(const EvictedRows& more) {
  keys.insert(keys.end(), more.keys.begin(), more.keys.end());
  frequency.insert(frequency.end(), more.frequency.begin(), more.frequency.end());
  last_used.insert(last_used.end(), more.last_used.begin(), more.last_used.end());
  packed_keys.insert(packed_keys.end(), more.packed_keys.begin(), more.packed_keys.end());
  packed.insert(packed.end(), more.packed.begin(), more.packed.end());
}

// Rows of every bucket in proportion to its size, so that the sample looks like the table also when a cycle that ran
// out of time has been through some buckets and not through others. Index order is hash order: any stretch of it is a
// random choice. `round` moves the stretch.
std::vector<Rank> RowTable::sample_rows(Score score, std::uint32_t now, double share, std::size_t round) const {
  std::vector<Rank> sample;
  double owed = 0;  // Fractions of a row are carried over to the next bucket.
  for (std::uint32_t number = 0; number < options_.bucket_count; ++number) {
    const Bucket& bucket = buckets_[number];
    const SharedLock lock(bucket.mutex());
    owed += share * static_cast<double>(bucket.size());
    const auto wanted = std::min(static_cast<std::size_t>(owed), bucket.size());
    owed -= static_cast<double>(wanted);
    bucket.index().for_some(round * wanted, wanted,
                            [&](RowRef ref) { sample.push_back(Rank::of(bucket.header(ref), score, now, clock_)); });
  }
  return sample;
}

std::uint64_t RowTable::capacity_rows(const CycleRequest& request) const {
  const std::uint64_t by_rows = request.max_rows > 0 ? request.max_rows : kNoCap;
  const std::uint64_t by_bytes = request.max_bytes > 0 ? request.max_bytes / row_bytes() : kNoCap;
  return std::min(by_rows, by_bytes);
}

// Problem: the exact choice of restrict_rows takes a pass over all metadata, which at a hundred million rows is most of
// a second, and a cycle has milliseconds. Idea: find the cut from a sample that represents the table, then go round the
// buckets from where the last cycle stopped and evict what ranks below the cut, until enough went or the time is over.
// Tables up to the sample's size are ranked whole. Limit: the cut of a large table is a quantile estimated from 65536
// rows, so the rows right at the cut may go or stay; a row far above it never goes.
CycleReport RowTable::evict_cycle(const CycleRequest& request) {
  check_budget(request.budget_ms);
  if (!(request.low_watermark > 0 && request.low_watermark <= 1)) {
    throw std::invalid_argument("low_watermark must be in (0, 1], got " + std::to_string(request.low_watermark));
  }
  const std::lock_guard one_at_a_time(cycle_mutex_);
  const Stopwatch watch;
  CycleReport report;
  const std::uint64_t cap = capacity_rows(request);
  const auto goal =
      cap == kNoCap ? kNoCap : static_cast<std::uint64_t>(std::floor(static_cast<double>(cap) * request.low_watermark));
  // A cycle that ran out of time is carried on although the table is below its cap by then.
  if (size() > cap || (evict_unfinished_ && size() > goal)) {
    report.outcome = CycleOutcome::kNothingToEvict;
    for (std::size_t round = 0; request.policy != EvictionPolicy::kNone; ++round) {
      const std::uint64_t evicted = evict_round(request, goal, round, watch, report);
      report.evicted += evicted;
      if (size() <= goal) {
        report.outcome = CycleOutcome::kBelowWatermark;
        break;
      }
      if (watch.elapsed_ms() >= request.budget_ms) {
        report.outcome = CycleOutcome::kOutOfTime;
        break;
      }
      if (evicted == 0) {
        break;
      }
    }
  }
  evict_unfinished_ = report.outcome == CycleOutcome::kOutOfTime;
  report.bytes = report.evicted * row_bytes();
  report.duration_ms = watch.elapsed_ms();
  counters_.evicted.fetch_add(report.evicted, std::memory_order_relaxed);
  return report;
}

// One time round the buckets, or until enough went or the time is over. Returns how many rows went.
std::uint64_t RowTable::evict_round(const CycleRequest& request, std::uint64_t goal, std::size_t round,
                                    const Stopwatch& watch, CycleReport& report) {
  const Score score = request.policy == EvictionPolicy::kLru ? Score::kLastUsed : Score::kFrequency;
  const std::uint64_t rows = size();
  if (rows <= goal) {
    return 0;
  }
  const std::uint64_t surplus = rows - goal;
  const double share = std::min(1.0, kSampledRows / static_cast<double>(rows));
  std::vector<Rank> sample = sample_rows(score, request.now, share, round);
  if (sample.empty()) {
    return 0;
  }
  const auto below = static_cast<std::size_t>(
      std::ceil(static_cast<double>(sample.size()) * static_cast<double>(surplus) / static_cast<double>(rows)));
  const bool all = below >= sample.size();
  const auto nth = sample.begin() + static_cast<std::ptrdiff_t>(all ? sample.size() - 1 : below);
  std::nth_element(sample.begin(), nth, sample.end());
  const Rank cut = *nth;
  report.score_cut = Rank::score_of(cut.standing, score, clock_);
  const auto doomed = [&](const RowHeader& header) {
    return all || Rank::of(header, score, request.now, clock_) < cut;
  };
  std::uint64_t evicted = 0;
  for (std::uint32_t i = 0; i < options_.bucket_count && evicted < surplus; ++i) {
    evicted += evict_where(buckets_[evict_cursor_], surplus - evicted, request.now, doomed, report.gone);
    evict_cursor_ = (evict_cursor_ + 1) % options_.bucket_count;
    if (watch.elapsed_ms() >= request.budget_ms) {
      break;
    }
  }
  return evicted;
}

CycleReport RowTable::expire(std::uint32_t ttl_s, std::uint32_t now, double budget_ms) {
  check_budget(budget_ms);
  const std::lock_guard one_at_a_time(cycle_mutex_);
  const Stopwatch watch;
  CycleReport report;
  report.outcome = CycleOutcome::kComplete;
  const std::uint32_t oldest_kept = now > ttl_s ? now - ttl_s : 0;
  const auto too_old = [oldest_kept](const RowHeader& header) { return header.usage().last_used < oldest_kept; };
  for (std::uint32_t i = 0; i < options_.bucket_count; ++i) {
    if (any_row(buckets_[expire_cursor_], too_old)) {
      report.evicted += evict_where(buckets_[expire_cursor_], kNoCap, now, too_old, report.gone);
    }
    expire_cursor_ = (expire_cursor_ + 1) % options_.bucket_count;
    if (i + 1 < options_.bucket_count && watch.elapsed_ms() >= budget_ms) {
      report.outcome = CycleOutcome::kOutOfTime;
      break;
    }
  }
  report.score_cut = report.evicted > 0 ? static_cast<double>(oldest_kept) : 0.0;
  report.bytes = report.evicted * row_bytes();
  report.duration_ms = watch.elapsed_ms();
  counters_.expired.fetch_add(report.evicted, std::memory_order_relaxed);
  return report;
}

}  // namespace rowbank
