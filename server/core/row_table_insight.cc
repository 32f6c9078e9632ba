// What the metadata of all rows say: histograms, one row's standing, and what other policies would do.
#include <algorithm>
#include <bit>
#include <cmath>

#include "row_table.h"
#include "simulation.h"
#include "spread.h"
#include "table_visit.h"

namespace rowbank {
namespace {

std::size_t level_of(double number) {
  return number < 1 ? 0 : std::bit_width(static_cast<std::uint64_t>(std::min(number, 4294967295.0)));
}

void add_to(std::vector<std::uint64_t>& sums, const std::vector<std::uint64_t>& more) {
  std::transform(sums.begin(), sums.end(), more.begin(), sums.begin(), std::plus<>());
}

}  // namespace

UsageHistogram RowTable::histogram(std::uint32_t now) const {
  const UsageHistogram none{0, std::vector<std::uint64_t>(UsageHistogram::kLevels),
                            std::vector<std::uint64_t>(UsageHistogram::kLevels)};
  const unsigned threads = threads_for(size());
  std::vector<UsageHistogram> parts(threads, none);
  spread(options_.bucket_count, threads, [&](unsigned thread, std::uint32_t number) {
    UsageHistogram& part = parts[thread];
    const Bucket& bucket = buckets_[number];
    const SharedLock lock(bucket.mutex());
    bucket.for_each_row([&](RowRef, const RowHeader& header) {
      const Usage usage = header.usage();
      ++part.rows;
      ++part.frequencies[level_of(clock_.aged(usage, now))];
      ++part.ages[level_of(now > usage.last_used ? now - usage.last_used : 0)];
    });
  });
  UsageHistogram whole = none;
  for (const UsageHistogram& part : parts) {
    whole.rows += part.rows;
    add_to(whole.frequencies, part.frequencies);
    add_to(whole.ages, part.ages);
  }
  return whole;
}

std::optional<Standing> RowTable::standing(std::int64_t key, Score score, std::uint32_t now) const {
  const std::uint64_t hash = hash_key(key);
  Rank rank;
  {
    const Bucket& bucket = bucket_of(hash);
    const SharedLock lock(bucket.mutex());
    const RowRef ref = bucket.find(hash);
    if (ref == kNoRow) {
      return std::nullopt;
    }
    rank = Rank::of(bucket.header(ref), score, now, clock_);
  }
  const Place place{rank.standing, rank.lot};
  const Ranks there = ranks({score, now, place, place, 1});
  return Standing{there.rows, there.below, Rank::score_of(rank.standing, score, clock_)};
}

std::uint32_t RowTable::seen(std::int64_t key) const {
  const std::uint64_t hash = hash_key(key);
  const Bucket& bucket = bucket_of(hash);
  const SharedLock lock(bucket.mutex());
  return bucket.seen_absent(hash);
}

Simulated RowTable::simulate(const std::vector<WhatIf>& what_ifs, std::uint32_t now) const {
  SimulationInput input;
  input.sample = access_sample_.picture();
  input.half_life_s = options_.half_life_s;
  input.track_reads = options_.track_reads;
  input.regret_window_s = options_.regret_window_s;
  const std::uint32_t threshold = input.sample.threshold;
  std::vector<std::uint64_t> young(what_ifs.size());
  std::uint64_t rows = 0;
  for (std::uint32_t number = 0; number < options_.bucket_count; ++number) {
    const Bucket& bucket = buckets_[number];
    const SharedLock lock(bucket.mutex());
    rows += bucket.size();
    bucket.for_each_row([&](RowRef, const RowHeader& header) {
      const Usage usage = header.usage();
      for (std::size_t i = 0; i < what_ifs.size(); ++i) {
        const std::uint32_t ttl_s = what_ifs[i].ttl_s;
        young[i] += ttl_s == 0 || now <= ttl_s || usage.last_used >= now - ttl_s ? 1 : 0;
      }
      if (AccessSample::choice(header.hash) < threshold) {
        input.rows.push_back({header.hash, usage});
      }
    });
  }
  const double rate = static_cast<double>(threshold) / AccessSample::kWhole;
  input.share = threshold == AccessSample::kWhole ? 1 : rate;
  if (threshold < AccessSample::kWhole && !input.rows.empty()) {
    input.share = static_cast<double>(input.rows.size()) / static_cast<double>(rows);
  }
  Simulated result;
  result.rows = rows;
  result.accesses = input.sample.accesses.size();
  result.rate = rate;
  if (!input.sample.accesses.empty()) {
    const std::uint32_t last = input.sample.accesses.back().at;
    result.sampled_s = last - std::min(last, input.sample.accesses.front().at);
  }
  bound_work(input);
  for (std::size_t i = 0; i < what_ifs.size(); ++i) {
    const WhatIf& what_if = what_ifs[i];
    SimulatedPolicy policy;
    if (threshold > 0) {
      policy = rowbank::simulate(input, what_if);
    } else {
      policy.rows_at_end = static_cast<double>(rows);
    }
    policy.rows_kept_now = young[i];
    if (what_if.policy != EvictionPolicy::kNone && what_if.cap_rows > 0 && young[i] > what_if.cap_rows) {
      policy.rows_kept_now =
          static_cast<std::uint64_t>(std::floor(static_cast<double>(what_if.cap_rows) * what_if.low_watermark));
    }
    result.policies.push_back(policy);
  }
  return result;
}

}  // namespace rowbank
