// Which rows are worth most: restrict, its preview, and the top rows.
#include <algorithm>
#include <limits>

#include "row_table.h"
#include "table_visit.h"

namespace rowbank {

// A row's place in the order of eviction. The hash of a key is unique, so the order is total: any cut through it keeps
// an exact number of rows and every run makes the same choice.
struct RowTable::Ranked {
  double score = 0;
  std::uint32_t last_used = 0;
  std::uint32_t frequency = 0;
  std::uint64_t hash = 0;
  std::int64_t key = 0;

  // True when this row goes before the other: lower score, then older use, then larger hash.
  bool operator<(const Ranked& other) const {
    if (score != other.score) return score < other.score;
    if (last_used != other.last_used) return last_used < other.last_used;
    return hash > other.hash;
  }
};

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
  report.bytes = report.evicted * layout_.stride;
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
  Cut cut = find_cut(request);
  RestrictReport& report = cut.report;
  std::uint64_t evicted = 0;
  std::vector<RowRef> doomed;
  for (std::uint32_t number = 0; number < options_.bucket_count && evicted < report.evicted; ++number) {
    Bucket& bucket = buckets_[number];
    const UniqueLock lock(bucket.mutex());
    doomed.clear();
    bucket.index().for_each([&](RowRef ref) {
      if (rank(RowLayout::header(bucket.row(ref)), request.score, request.now) < cut.first_kept) {
        doomed.push_back(ref);
      }
    });
    for (const RowRef ref : doomed) {
      if (evicted == report.evicted) {
        break;
      }
      bucket.erase(hash_key(RowLayout::header(bucket.row(ref)).key), ref);
      ++evicted;
    }
    bucket.compact_if_sparse();
  }
  rows_.fetch_sub(static_cast<std::int64_t>(evicted), std::memory_order_relaxed);
  report.evicted = evicted;
  report.rows_after = report.rows_before - evicted;
  report.bytes = evicted * layout_.stride;
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
