// Which rows are worth most: restrict, its preview, and the top rows.
#include <algorithm>
#include <cmath>

#include "row_table.h"
#include "spread.h"
#include "table_evict.h"
#include "table_visit.h"

namespace rowbank {

// What restrict will do: everything that ranks up to `last` goes.
struct RowTable::Cut {
  Rank last;
  std::vector<std::uint64_t> going;  // Rows of each bucket.
  RestrictReport report;
};

// What one pass over all headers says about the place of the rows in the order of eviction: how many rank below a
// bracket, and which lie in it.
struct RowTable::Census {
  struct Within {
    Rank rank;
    std::uint32_t bucket;
    bool operator<(const Within& other) const { return rank < other.rank; }
  };

  std::uint64_t rows = 0;
  std::uint64_t below = 0;
  std::vector<std::uint64_t> below_in_bucket;
  std::vector<Within> within;

  bool has(std::uint64_t n) const { return n >= below && n - below < within.size(); }
};

namespace {

// Of all rows that are offered, the first ones in the order of Row's operator<.
template <typename Row>
class FirstRows {
 public:
  explicit FirstRows(std::size_t limit) : limit_(limit) {}

  void offer(const Row& row) {
    if (rows_.size() < limit_) {
      rows_.push_back(row);
      std::push_heap(rows_.begin(), rows_.end());
    } else if (limit_ > 0 && row < rows_.front()) {
      std::pop_heap(rows_.begin(), rows_.end());
      rows_.back() = row;
      std::push_heap(rows_.begin(), rows_.end());
    }
  }

  // In their order; nothing is left.
  std::vector<Row> take() {
    std::sort_heap(rows_.begin(), rows_.end());
    return std::move(rows_);
  }

 private:
  std::size_t limit_;
  std::vector<Row> rows_;  // A heap, the last of them on top.
};

}  // namespace

// Two ranks that most likely have the n-th lowest of all rows between them.
std::pair<Rank, Rank> RowTable::bracket(const RestrictRequest& request, std::uint64_t rows) const {
  constexpr std::uint64_t kSample = 16384;
  constexpr double kMargin = 256;  // At least four standard deviations of a quantile's place in the sample.
  if (rows <= kSample) {
    return {Rank{}, Rank::highest()};
  }
  std::vector<Rank> sample =
      sample_rows(request.score, request.now, static_cast<double>(kSample) / static_cast<double>(rows), 0);
  const double at =
      static_cast<double>(rows - request.num_reserved) / static_cast<double>(rows) * static_cast<double>(sample.size());
  const auto pick = [&sample](double place, Rank beyond) {
    if (place < 0 || place >= static_cast<double>(sample.size())) {
      return beyond;
    }
    const auto nth = sample.begin() + static_cast<std::ptrdiff_t>(place);
    std::nth_element(sample.begin(), nth, sample.end());
    return *nth;
  };
  return {pick(at - kMargin, Rank{}), pick(at + kMargin, Rank::highest())};
}

RowTable::Census RowTable::take_census(const RestrictRequest& request, Rank low, Rank high) const {
  const unsigned threads = threads_for(size());
  std::vector<Census> parts(threads);
  Census whole;
  whole.below_in_bucket.resize(options_.bucket_count);
  spread(options_.bucket_count, threads, [&](unsigned thread, std::uint32_t number) {
    Census& part = parts[thread];
    const Bucket& bucket = buckets_[number];
    const SharedLock lock(bucket.mutex());
    std::uint64_t below = 0;
    bucket.for_each_place([&](RowRef, const RowHeader& header) {
      const Rank rank = Rank::of(header, request.score, request.now, clock_);
      const bool present = !header.vacant();
      const bool is_below = rank < low;
      below += static_cast<std::uint64_t>(present & is_below);
      if (present & !is_below & !(high < rank)) {
        part.within.push_back({rank, number});
      }
    });
    whole.below_in_bucket[number] = below;
    part.below += below;
    part.rows += bucket.size();
  });
  for (const Census& part : parts) {
    whole.rows += part.rows;
    whole.below += part.below;
    whole.within.insert(whole.within.end(), part.within.begin(), part.within.end());
  }
  return whole;
}

// Problem: the cut is one rank among millions, and to sort them, or to write them down only to select from them, takes
// longer than to read them. Idea: a sample says between which two ranks the cut lies; one pass counts what is below and
// writes down only the few between, of which the exact one is selected (Floyd and Rivest's idea). Should the sample
// have misled, the pass is repeated with a bracket around everything.
RowTable::Cut RowTable::find_cut(const RestrictRequest& request) const {
  Cut cut;
  RestrictReport& report = cut.report;
  for (std::uint32_t number = 0; number < options_.bucket_count; ++number) {
    const SharedLock lock(buckets_[number].mutex());
    report.rows_before += buckets_[number].size();
  }
  report.rows_after = report.rows_before;
  const std::uint64_t least = std::max(request.trigger, request.num_reserved);
  if (report.rows_before <= least) {
    return cut;
  }
  const auto [low, high] = bracket(request, report.rows_before);
  Census census = take_census(request, low, high);
  if (census.rows > least && !census.has(census.rows - request.num_reserved - 1)) {
    census = take_census(request, Rank{}, Rank::highest());
  }
  report.rows_before = report.rows_after = census.rows;
  if (census.rows <= least) {
    return cut;
  }
  report.evicted = census.rows - request.num_reserved;
  report.rows_after = request.num_reserved;
  report.bytes = report.evicted * row_bytes();
  const auto last = census.within.begin() + static_cast<std::ptrdiff_t>(report.evicted - 1 - census.below);
  std::nth_element(census.within.begin(), last, census.within.end());
  cut.last = last->rank;
  report.score_cut = Rank::score_of(cut.last.standing, request.score, clock_);
  report.sample_keys = lowest_keys(request, std::min<std::size_t>(request.sample, report.evicted));
  cut.going = std::move(census.below_in_bucket);
  for (auto row = census.within.begin(); row <= last; ++row) {
    ++cut.going[row->bucket];
  }
  return cut;
}

// Without a bracket, a sample of a large table is enough to choose one by, and takes no pass over all metadata.
Ranks RowTable::ranks(const RanksRequest& request) const {
  Ranks ranks;
  std::vector<Rank> found;
  const std::size_t rows = size();
  if (!request.low && !request.high && rows > request.limit) {
    found = sample_rows(request.score, request.now, static_cast<double>(request.limit) / static_cast<double>(rows), 0);
    ranks.rows = ranks.within = rows;
  } else {
    const auto rank_of = [](const std::optional<Place>& place, Rank none) {
      return place ? Rank{place->standing, place->lot} : none;
    };
    RestrictRequest by;
    by.score = request.score;
    by.now = request.now;
    const Census census = take_census(by, rank_of(request.low, Rank{}), rank_of(request.high, Rank::highest()));
    ranks.rows = census.rows;
    ranks.below = census.below;
    ranks.within = census.within.size();
    const std::size_t step = 1 + ranks.within / (request.limit + 1);
    for (std::size_t i = 0; i < census.within.size(); i += step) {
      found.push_back(census.within[i].rank);
    }
  }
  for (const Rank& rank : found) {
    ranks.standings.push_back(rank.standing);
    ranks.lots.push_back(rank.lot);
  }
  return ranks;
}

std::vector<std::int64_t> RowTable::lowest_keys(const RestrictRequest& request, std::size_t count) const {
  struct Going {
    Rank rank;
    std::uint64_t hash;
    bool operator<(const Going& other) const { return rank < other.rank; }
  };
  std::vector<std::int64_t> keys;
  if (count == 0) {
    return keys;
  }
  FirstRows<Going> first(count);
  for (std::uint32_t number = 0; number < options_.bucket_count; ++number) {
    const SharedLock lock(buckets_[number].mutex());
    buckets_[number].for_each_row([&](RowRef, const RowHeader& header) {
      first.offer({Rank::of(header, request.score, request.now, clock_), header.hash});
    });
  }
  for (const Going& row : first.take()) {
    keys.push_back(key_of_hash(row.hash));
  }
  return keys;
}

RestrictReport RowTable::preview_restrict(const RestrictRequest& request) const {
  return find_cut(request).report;
}

// Problem: exact selection needs all ranks, but holding every lock for the whole pass would stop the table. Idea: find
// the cut bucket by bucket, then go through the buckets again and evict what ranks no higher than the cut *by its
// metadata of that moment*, and no more rows of a bucket than were to go. Without concurrent writers that is exactly
// the planned set. What ranks above the cut never goes, so num_reserved rows stay whatever is written meanwhile.
RestrictReport RowTable::restrict_rows(const RestrictRequest& request) {
  const std::lock_guard one_at_a_time(cycle_mutex_);
  Cut cut = find_cut(request);
  RestrictReport& report = cut.report;
  if (report.evicted == 0) {
    return std::move(report);
  }
  const unsigned threads = threads_for(report.rows_before);
  std::vector<EvictedRows> gone(threads);
  for (EvictedRows& rows : gone) {
    rows.reserve(report.evicted / threads + report.evicted / 4);
  }
  const auto doomed = [&](const RowHeader& header) {
    return !(cut.last < Rank::of(header, request.score, request.now, clock_));
  };
  spread(options_.bucket_count, threads, [&](unsigned thread, std::uint32_t number) {
    if (cut.going[number] > 0) {
      evict_where(buckets_[number], cut.going[number], request.now, doomed, gone[thread]);
    }
  });
  report.gone = std::move(gone[0]);
  for (unsigned thread = 1; thread < threads; ++thread) {
    report.gone.append(gone[thread]);
  }
  report.evicted = report.gone.keys.size();
  counters_.evicted.fetch_add(report.evicted, std::memory_order_relaxed);
  report.rows_after = report.rows_before - report.evicted;
  report.bytes = report.evicted * row_bytes();
  return std::move(report);
}

TopRows RowTable::top(std::size_t limit, Score score, std::uint32_t now) const {
  struct Best {
    Rank rank;
    Usage usage;
    std::int64_t key;
    bool operator<(const Best& other) const { return other.rank < rank; }
  };
  FirstRows<Best> best(limit);
  for (std::uint32_t number = 0; number < options_.bucket_count; ++number) {
    const SharedLock lock(buckets_[number].mutex());
    buckets_[number].for_each_row([&](RowRef, const RowHeader& header) {
      best.offer({Rank::of(header, score, now, clock_), header.usage(), header.key()});
    });
  }
  TopRows rows;
  for (const Best& row : best.take()) {
    rows.keys.push_back(row.key);
    rows.frequency.push_back(clock_.to_count(row.usage.frequency));
    rows.last_used.push_back(row.usage.last_used);
  }
  return rows;
}

}  // namespace rowbank
