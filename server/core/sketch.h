// Counting keys that have no row yet, in bounded memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "hash.h"

namespace rowbank {

// Problem: a key gets its own row at its n-th occurrence, so somebody must count the keys that have none, and those are
// without bound. Idea: a count-min sketch, four counters a key in four rows, of which the smallest is the estimate;
// adding raises only counters that are below the new estimate (conservative update), so strangers disturb each other
// little. The sketch forgets: once `window` occurrences were added, all counters are halved, so a key must come n times
// within about a window. Estimates are never below the truth of the current window; they are above it only when all
// four counters are shared. With a quarter as many occurrences between two halvings as there are counters in a row, a
// key seen once has an estimate above 1 with probability at most (1 - exp(-1/4))^4 = 0.24 %, just before a halving, and
// less on average. Limit: counters stop at 255, so n is at most 255. Not thread-safe: it belongs to one bucket and its
// lock.
class AdmissionSketch {
 public:
  static constexpr std::uint32_t kMaxCount = 255;

  // `window`: occurrences between two halvings; rounded up to a power of two, at least 64.
  explicit AdmissionSketch(std::size_t window);

  // Adds occurrences of the key with that hash and returns the estimate of all of them so far.
  std::uint32_t add(std::uint64_t hash, std::uint32_t occurrences);

  // What `add` would return for no more occurrences.
  std::uint32_t estimate(std::uint64_t hash) const;

  std::size_t bytes() const { return kRows * width_; }

 private:
  static constexpr std::size_t kRows = 4;
  static constexpr std::size_t kWidthPerWindow = 4;

  std::uint8_t& counter(std::uint64_t hash, std::size_t row) const {
    return counters_[row * width_ + (mix64(hash + row * kGolden) & (width_ - 1))];
  }
  void halve();

  std::size_t window_;
  std::size_t width_;
  std::size_t added_ = 0;
  std::unique_ptr<std::uint8_t[]> counters_;
};

// Which keys were evicted lately, to count regret: pushes of keys that eviction took too early. A table of fingerprints
// and times; a key may stand in either of two places, and a newer eviction overwrites the older of the two. So regret
// is hardly ever overstated (two chances in 2^32 a push), and it is understated when many more keys are evicted within
// a window than there are places. Not thread-safe: it belongs to one bucket and its lock.
class RecentlyEvicted {
 public:
  // `places`: rounded up to a power of two, at least 64.
  explicit RecentlyEvicted(std::size_t places);

  void note(std::uint64_t hash, std::uint32_t now);

  // True when the key was evicted at most `window_s` before `now`. Each eviction is regretted once.
  bool take(std::uint64_t hash, std::uint32_t now, std::uint32_t window_s);

  std::size_t bytes() const { return places_ * sizeof(Place); }

 private:
  struct Place {
    std::uint32_t fingerprint = 0;
    std::uint32_t evicted_at = 0;  // 0: empty.
  };

  // What the table knows of a key: a mixed hash's high half is the fingerprint, its low half says the two places, which
  // are never the same one.
  struct Print {
    std::uint32_t fingerprint;
    std::size_t first;
    std::size_t second;
  };
  Print print(std::uint64_t hash) const {
    const std::uint64_t mixed = mix64(hash);
    const std::size_t first = mixed & (places_ - 1);
    const std::size_t second = (mixed >> 16) & (places_ - 1);
    return {static_cast<std::uint32_t>(mixed >> 32), first, second == first ? first ^ 1 : second};
  }

  std::size_t places_;
  std::unique_ptr<Place[]> table_;
};

}  // namespace rowbank
