// Which rows are worth most: restrict, its preview, and the top rows.
#include <algorithm>
#include <limits>

#include "row_table.h"
#include "table_evict.h"
#include "table_visit.h"

namespace rowbank {

// Everything that ranks below `first_kept` goes.
struct RowTable::Cut {
  Ranked first_kept;
  RestrictReport report;
};

RowTable::Ranked RowTable::rank(const RowHeader& header, Score score, std::uint32_t now) const {
  const Usage usage = header.usage();
  const double points = score == Score::kFrequency ? clock_.aged(usage, now) : static_cast<double>(usage.last_used);
  return {points, usage.last_used, clock_.to_count(usage.frequency), hash_key(header.key), header.key};
}

std::vector<RowTable::Ranked> RowTable::rank_all(Score score, std::uint32_t now) const {
  std::vector<Ranked> all;
  all.reserve(size());
  std::vector<RowRef> refs;
  for (std::uint32_t number = 0; number < options_.bucket_count; ++number) {
    constexpr std::size_t kAhead = 16;
    const Bucket& bucket = buckets_[number];
    const SharedLock lock(bucket.mutex());
    refs.clear();
    bucket.index().for_each([&refs](RowRef ref) { refs.push_back(ref); });
    for (std::size_t i = 0; i < refs.size(); ++i) {
      if (i + kAhead < refs.size()) {
        __builtin_prefetch(bucket.row(refs[i + kAhead]));
      }
      all.push_back(rank(RowLayout::header(bucket.row(refs[i])), score, now));
    }
  }
  return all;
}

RowTable::Cut RowTable::find_cut(const RestrictRequest& request) const {
  std::vector<Ranked> all = rank_all(request.score, request.now);
  Cut cut;
  RestrictReport& report = cut.report;
  report.rows_before = all.size();
  report.rows_after = all.size();
  if (all.size() <= request.trigger || all.size() <= request.num_reserved) {
    return cut;
  }
  report.evicted = all.size() - request.num_reserved;
  report.rows_after = request.num_reserved;
  report.bytes = report.evicted * row_bytes();
  const auto first_kept = all.begin() + static_cast<std::ptrdiff_t>(report.evicted);
  if (first_kept != all.end()) {
    std::nth_element(all.begin(), first_kept, all.end());
    cut.first_kept = *first_kept;
  } else {
    cut.first_kept.score = std::numeric_limits<double>::infinity();  // Nothing is kept.
  }
  report.score_cut = std::max_element(all.begin(), first_kept)->score;
  const auto sampled = std::min<std::size_t>(request.sample, report.evicted);
  std::partial_sort(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(sampled), first_kept);
  for (std::size_t i = 0; i < sampled; ++i) {
    report.sample_keys.push_back(all[i].key);
  }
  return cut;
}

RestrictReport RowTable::preview_restrict(const RestrictRequest& request) const {
  return find_cut(request).report;
}

// Problem: exact selection needs all scores at once, but holding every lock for the whole pass would stop the table.
// Idea: read the metadata bucket by bucket, choose the cut, then go through the buckets again and evict what ranks
// below it *by its metadata of that moment*. Without concurrent writers that is exactly the planned set. A row that is
// used in between ranks above the cut and stays; a row that appears in between cannot take the place of a planned one,
// because no more than the planned number go.
RestrictReport RowTable::restrict_rows(const RestrictRequest& request) {
  const std::lock_guard one_at_a_time(cycle_mutex_);
  Cut cut = find_cut(request);
  RestrictReport& report = cut.report;
  std::uint64_t evicted = 0;
  for (std::uint32_t number = 0; number < options_.bucket_count && evicted < report.evicted; ++number) {
    evicted += evict_where(
        buckets_[number], report.evicted - evicted, request.now,
        [&](const RowHeader& header) { return rank(header, request.score, request.now) < cut.first_kept; },
        report.evicted_keys);
  }
  counters_.evicted.fetch_add(evicted, std::memory_order_relaxed);
  report.evicted = evicted;
  report.rows_after = report.rows_before - evicted;
  report.bytes = evicted * row_bytes();
  return report;
}

TopRows RowTable::top(std::size_t limit, Score score, std::uint32_t now) const {
  std::vector<Ranked> all = rank_all(score, now);
  const auto count = static_cast<std::ptrdiff_t>(std::min(limit, all.size()));
  std::partial_sort(all.begin(), all.begin() + count, all.end(),
                    [](const Ranked& a, const Ranked& b) { return b < a; });
  TopRows rows;
  for (std::ptrdiff_t i = 0; i < count; ++i) {
    const Ranked& row = all[static_cast<std::size_t>(i)];
    rows.keys.push_back(row.key);
    rows.frequency.push_back(row.frequency);
    rows.last_used.push_back(row.last_used);
  }
  return rows;
}

}  // namespace rowbank
