#include "simulation.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_map>

#include "rank.h"

namespace rowbank {
namespace {

constexpr std::uint64_t kMostWork = 100'000'000;  // Rows looked at, in all cycles of a replay: about a second.
constexpr std::size_t kFewestAccesses = 4096;

struct Key {
  std::uint64_t hash = 0;
  Usage usage;
  bool present = false;
  bool was_evicted = false;
  std::uint32_t evicted_at = 0;
  std::uint32_t seen = 0;  // Occurrences while it had no row.
};

class Replay {
 public:
  Replay(const SimulationInput& input, const WhatIf& what_if)
      : input_(input), what_if_(what_if), clock_(what_if.half_life_s), table_clock_(input.half_life_s) {
    begin();
  }

  SimulatedPolicy run() {
    const std::vector<Access>& accesses = input_.sample.accesses;
    const std::size_t counted_from = half();
    std::uint32_t now = accesses.empty() ? 0 : accesses.front().at;
    for (std::size_t place = 0; place < accesses.size(); ++place) {
      if (accesses[place].at > now) {
        cycle(now);
        now = accesses[place].at;
      }
      counting_ = place >= counted_from;
      access(accesses[place], now);
    }
    cycle(now);
    result_.rows_at_end = static_cast<double>(present_) / input_.share;
    expected(counted_from);
    if (counted_from < accesses.size()) {
      result_.counted_s = now - accesses[counted_from].at;
    }
    return result_;
  }

 private:
  std::uint32_t id_of(std::uint64_t hash) {
    const auto [found, added] = ids_.try_emplace(hash, static_cast<std::uint32_t>(keys_.size()));
    if (added) {
      keys_.push_back({hash, {}, false, false, 0, 0});
    }
    return found->second;
  }

  Usage converted(Usage usage) const {
    if (what_if_.half_life_s == input_.half_life_s) {
      return usage;
    }
    return {clock_.from_number(table_clock_.number_of(usage.frequency)), usage.last_used};
  }

  void begin() {
    ids_.reserve(input_.rows.size() + input_.sample.accesses.size() / 4);
    for (const Access& access : input_.sample.accesses) {
      const std::size_t known = keys_.size();
      const std::uint32_t id = id_of(access.hash);
      if (id == known && access.found()) {
        put(id, converted(access.usage));
      }
    }
    const std::size_t accessed = keys_.size();
    for (const LiveRow& row : input_.rows) {
      const std::uint32_t id = id_of(row.hash);
      if (id >= accessed) {
        put(id, converted(row.usage));
      }
    }
  }

  void put(std::uint32_t id, Usage usage) {
    keys_[id].present = true;
    keys_[id].usage = usage;
    rows_.push_back(id);
    ++present_;
  }

  void access(const Access& access, std::uint32_t now) {
    const std::uint32_t id = ids_.find(access.hash)->second;
    Key& key = keys_[id];
    const std::uint64_t counted = counting_ ? 1 : 0;
    (access.push() ? result_.pushes : result_.pulls) += counted;
    (access.push() ? result_.push_hits : result_.pull_hits) += key.present ? counted : 0;
    (access.push() ? result_.live_push_hits : result_.live_pull_hits) += access.found() ? counted : 0;
    if (access.push()) {
      push(id, access.occurrences(), now);
    } else if (key.present && input_.track_reads && key.usage.last_used < now) {
      key.usage = clock_.used(key.usage, 0, now);
    }
  }

  void push(std::uint32_t id, std::uint32_t occurrences, std::uint32_t now) {
    Key& key = keys_[id];
    if (!key.present) {
      if (key.was_evicted && now - key.evicted_at <= input_.regret_window_s) {
        result_.regretted += counting_ ? 1 : 0;
      }
      key.was_evicted = false;
      std::uint32_t seen_before = 0;
      if (what_if_.min_count > 1) {
        seen_before = key.seen;
        key.seen += std::min(occurrences, std::numeric_limits<std::uint32_t>::max() - key.seen);
        if (key.seen < what_if_.min_count) {
          return;
        }
      }
      put(id, {clock_.from_count(seen_before), now});
    }
    key.usage = clock_.used(key.usage, occurrences, now);
  }

  void evict(std::uint32_t id, std::uint32_t now) {
    Key& key = keys_[id];
    key.present = false;
    key.was_evicted = true;
    key.evicted_at = now;
    --present_;
    result_.evicted += counting_ ? 1 : 0;
  }

  void cycle(std::uint32_t now) {
    if (what_if_.ttl_s > 0) {
      const std::uint32_t oldest_kept = now > what_if_.ttl_s ? now - what_if_.ttl_s : 0;
      for (const std::uint32_t id : rows_) {
        if (keys_[id].usage.last_used < oldest_kept) {
          evict(id, now);
        }
      }
      forget_evicted();
    }
    if (what_if_.policy == EvictionPolicy::kNone || what_if_.cap_rows == 0 ||
        static_cast<double>(present_) <= static_cast<double>(what_if_.cap_rows) * input_.share) {
      return;
    }
    const double low = std::floor(static_cast<double>(what_if_.cap_rows) * what_if_.low_watermark);
    const auto goal = static_cast<std::size_t>(std::floor(low * input_.share));
    const Score score = what_if_.policy == EvictionPolicy::kLru ? Score::kLastUsed : Score::kFrequency;
    ranked_.clear();
    for (const std::uint32_t id : rows_) {
      const Key& key = keys_[id];
      ranked_.push_back({{Rank::standing_of(key.usage, score, now, clock_), Rank::lot_of(key.hash)}, id});
    }
    const std::size_t surplus = present_ - std::min(present_, goal);
    if (surplus < ranked_.size()) {
      std::nth_element(ranked_.begin(), ranked_.begin() + static_cast<std::ptrdiff_t>(surplus), ranked_.end());
    }
    for (std::size_t place = 0; place < surplus; ++place) {
      evict(ranked_[place].id, now);
    }
    forget_evicted();
  }

  void forget_evicted() {
    std::erase_if(rows_, [this](std::uint32_t id) { return !keys_[id].present; });
  }

  // Where counting begins: in the middle; of some of the keys, at the next place of which it is known how many accesses
  // of all keys came before.
  std::size_t half() const {
    const std::size_t middle = input_.sample.accesses.size() / 2;
    if (input_.sample.threshold == AccessSample::kWhole || input_.sample.marks.empty()) {
      return middle;
    }
    return mark_after(middle).place;
  }

  const AccessSample::Picture::Mark& mark_after(std::size_t place) const {
    const auto& marks = input_.sample.marks;
    const auto mark = std::lower_bound(marks.begin(), marks.end(), place,
                                       [](const auto& one, std::size_t at) { return one.place < at; });
    return mark == marks.end() ? marks.back() : *mark;
  }

  // How many accesses of all keys there were meanwhile: whether a key that is asked for all the time is in the sample
  // makes a difference, which is not the policy's.
  void expected(std::size_t counted_from) {
    result_.rate = static_cast<double>(input_.sample.threshold) / AccessSample::kWhole;
    if (input_.sample.threshold == AccessSample::kWhole || input_.sample.marks.empty()) {
      result_.all_pulls = static_cast<double>(result_.pulls);
      result_.all_pushes = static_cast<double>(result_.pushes);
      return;
    }
    const AccessSample::Picture::Mark& mark = mark_after(counted_from);
    const AccessSample::Picture::Mark& end = input_.sample.marks.back();
    result_.all_pulls = static_cast<double>(end.pulls - mark.pulls);
    result_.all_pushes = static_cast<double>(end.pushes - mark.pushes);
  }

  struct Ranked {
    Rank rank;
    std::uint32_t id;
    bool operator<(const Ranked& other) const { return rank < other.rank; }
  };

  const SimulationInput& input_;
  const WhatIf& what_if_;
  const FrequencyClock clock_;
  const FrequencyClock table_clock_;
  std::unordered_map<std::uint64_t, std::uint32_t> ids_;
  std::vector<Key> keys_;
  std::vector<std::uint32_t> rows_;  // Of keys that are present.
  std::size_t present_ = 0;
  std::vector<Ranked> ranked_;
  bool counting_ = false;
  SimulatedPolicy result_;
};

std::uint64_t work_of(const SimulationInput& input) {
  std::uint64_t seconds = 0;
  std::uint32_t now = 0;
  for (const Access& access : input.sample.accesses) {
    seconds += access.at > now ? 1 : 0;
    now = std::max(now, access.at);
  }
  return seconds * (input.rows.size() + input.sample.accesses.size() / 4);
}

}  // namespace

void bound_work(SimulationInput& input) {
  while (work_of(input) > kMostWork && input.sample.accesses.size() > kFewestAccesses && input.sample.threshold > 1) {
    const std::uint32_t lower = input.sample.threshold / 2;
    const auto before = static_cast<double>(input.rows.size());
    input.sample.keep_below(lower);
    std::erase_if(input.rows, [lower](const LiveRow& row) { return AccessSample::choice(row.hash) >= lower; });
    input.share *= before > 0 ? static_cast<double>(input.rows.size()) / before : 0.5;
  }
}

SimulatedPolicy simulate(const SimulationInput& input, const WhatIf& what_if) {
  return Replay(input, what_if).run();
}

}  // namespace rowbank
