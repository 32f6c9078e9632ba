// Which rows are worth most: restrict, its preview, and the top rows.
#include <algorithm>

#include "row_table.h"
#include "select.h"
#include "table_evict.h"
#include "table_visit.h"

namespace rowbank {

// What restrict will do: everything that ranks up to `last` goes.
struct RowTable::Cut {
  Standings rows;                 // Bucket by bucket.
  std::vector<std::size_t> ends;  // Where each bucket's rows end.
  Rank last;
  RestrictReport report;

  // The hashes of those rows of the bucket that go.
  void choose(std::uint32_t bucket, std::vector<std::uint64_t>& chosen) const;
  // The first `count` rows to go. REQUIRES: no more than go.
  std::vector<std::int64_t> lowest_keys(std::size_t count) const;
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

void RowTable::Cut::choose(std::uint32_t bucket, std::vector<std::uint64_t>& chosen) const {
  const std::size_t begin = bucket == 0 ? 0 : ends[bucket - 1];
  chosen.resize(ends[bucket] - begin);
  std::size_t count = 0;
  for (std::size_t i = begin; i < ends[bucket]; ++i) {  // As in KeyIndex::list: written always, counted if wanted.
    chosen[count] = rows.hashes[i];
    count += static_cast<std::size_t>(!(last < rows.rank(i)));
  }
  chosen.resize(count);
}

std::vector<std::int64_t> RowTable::Cut::lowest_keys(std::size_t count) const {
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
  for (std::size_t i = 0; i < rows.size(); ++i) {
    first.offer({rows.rank(i), rows.hashes[i]});
  }
  for (const Going& row : first.take()) {
    keys.push_back(key_of_hash(row.hash));
  }
  return keys;
}

RowTable::Rank RowTable::Standings::nth(std::size_t n) const {
  const Selected selected = nth_smallest(standing, n);
  HugeVector<std::uint64_t> lots(selected.equal + 1);
  std::size_t count = 0;
  for (std::size_t i = 0; i < size(); ++i) {  // As in KeyIndex::list: written always, counted if wanted.
    lots[count] = Rank::lot_of(hashes[i]);
    count += static_cast<std::size_t>(standing[i] == selected.value);
  }
  lots.pop_back();
  return {selected.value, nth_smallest(lots, n - selected.below).value};
}

RowTable::Rank RowTable::rank(const RowHeader& header, Score score, std::uint32_t now) const {
  return {Rank::standing_of(header.usage(), score, now, clock_), Rank::lot_of(hash_key(header.key))};
}

void RowTable::read_standings(const Bucket& bucket, const std::vector<RowRef>& refs, Score score, std::uint32_t now,
                              Standings& rows) const {
  const std::size_t begin = rows.size();
  rows.standing.resize(begin + refs.size());
  rows.hashes.resize(begin + refs.size());
  std::uint64_t* standing = rows.standing.data() + begin;
  std::uint64_t* hashes = rows.hashes.data() + begin;
  for_each_header(bucket, refs, [&, i = std::size_t{0}](const RowHeader& header) mutable {
    standing[i] = Rank::standing_of(header.usage(), score, now, clock_);
    hashes[i] = hash_key(header.key);
    ++i;
  });
}

RowTable::Cut RowTable::find_cut(const RestrictRequest& request) const {
  Cut cut;
  cut.rows.standing.reserve(size());
  cut.rows.hashes.reserve(size());
  std::vector<RowRef> refs;
  for (std::uint32_t number = 0; number < options_.bucket_count; ++number) {
    const Bucket& bucket = buckets_[number];
    const SharedLock lock(bucket.mutex());
    bucket.index().list(refs);
    read_standings(bucket, refs, request.score, request.now, cut.rows);
    cut.ends.push_back(cut.rows.size());
  }
  RestrictReport& report = cut.report;
  report.rows_before = cut.rows.size();
  report.rows_after = report.rows_before;
  if (report.rows_before <= request.trigger || report.rows_before <= request.num_reserved) {
    return cut;
  }
  report.evicted = report.rows_before - request.num_reserved;
  report.rows_after = request.num_reserved;
  report.bytes = report.evicted * row_bytes();
  cut.last = cut.rows.nth(report.evicted - 1);
  report.score_cut = Rank::score_of(cut.last.standing, request.score, clock_);
  report.sample_keys = cut.lowest_keys(std::min<std::size_t>(request.sample, report.evicted));
  return cut;
}

RestrictReport RowTable::preview_restrict(const RestrictRequest& request) const {
  return find_cut(request).report;
}

// Problem: exact selection needs all scores at once, but holding every lock for the whole pass would stop the table.
// Idea: read the metadata bucket by bucket, choose the rows that go, then go through the buckets again and evict those
// of the chosen that rank no higher than the cut *by their metadata of that moment*. Without concurrent writers that is
// exactly the planned set. A row that is used in between ranks above the cut and stays; a row that appears in between
// was not chosen and stays.
RestrictReport RowTable::restrict_rows(const RestrictRequest& request) {
  const std::lock_guard one_at_a_time(cycle_mutex_);
  Cut cut = find_cut(request);
  RestrictReport& report = cut.report;
  if (report.evicted == 0) {
    return std::move(report);
  }
  report.evicted_keys.reserve(report.evicted);
  const auto still_goes = [&](const RowHeader& header) {
    return !(cut.last < rank(header, request.score, request.now));
  };
  std::vector<std::uint64_t> chosen;
  for (std::uint32_t number = 0; number < options_.bucket_count; ++number) {
    cut.choose(number, chosen);
    evict_hashes(buckets_[number], chosen, request.now, still_goes, report.evicted_keys);
  }
  report.evicted = report.evicted_keys.size();
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
  std::vector<RowRef> refs;
  for (std::uint32_t number = 0; number < options_.bucket_count; ++number) {
    const Bucket& bucket = buckets_[number];
    const SharedLock lock(bucket.mutex());
    bucket.index().list(refs);
    for_each_header(bucket, refs, [&](const RowHeader& header) {
      best.offer({rank(header, score, now), header.usage(), header.key});
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
