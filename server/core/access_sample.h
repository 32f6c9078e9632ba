// A bounded sample of who was pulled and pushed lately, to replay it against other policies.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

#include "row.h"

namespace rowbank {

// One pull or push of a key, and what its row was like just before.
struct Access {
  static constexpr std::uint32_t kPush = std::uint32_t{1} << 31;
  static constexpr std::uint32_t kFound = std::uint32_t{1} << 30;
  static constexpr std::uint32_t kMostOccurrences = kFound - 1;

  std::uint64_t hash;
  std::uint32_t at;  // Unix seconds.
  Usage usage;       // As stored; zeros where there was no row.
  std::uint32_t flags_and_occurrences;

  bool push() const { return (flags_and_occurrences & kPush) != 0; }
  bool found() const { return (flags_and_occurrences & kFound) != 0; }
  std::uint32_t occurrences() const { return flags_and_occurrences & kMostOccurrences; }
};
static_assert(sizeof(Access) == 24);

// Problem: what hit rate a table would have with another size or policy is a question about its traffic, which cannot
// be kept. Idea: keep all accesses of some keys, chosen by their hashes; a cache of a share of the keys behaves like
// one that is as many times larger with all of them (Waldspurger et al., SHARDS). The share is adapted: a sample that
// would reach back less than kHorizonS once it is full drops the half of its keys, as long as enough rows stay in it,
// and one that reaches back much further takes twice as many in from then on. The first look is at an eighth of a full
// sample, because each access that is taken in costs its request a far read. The bits of the hash that choose are used
// for nothing else: not for buckets, not for places in a bucket, and not for the order of rows of equal score.
// Thread-safe; off with capacity 0.
class AccessSample {
 public:
  static constexpr std::uint32_t kWhole = 65536;
  static constexpr std::uint32_t kHorizonS = 3600;
  static constexpr std::uint64_t kFewestRows = 4096;

  // The keys whose choice is below `threshold()` are in the sample.
  static std::uint32_t choice(std::uint64_t hash) { return static_cast<std::uint32_t>(hash >> 32) & (kWhole - 1); }
  std::uint32_t threshold() const { return threshold_.load(std::memory_order_relaxed); }

  // The newest accesses stay, as many as there is room for.
  void set_capacity(std::size_t accesses);
  std::size_t capacity() const { return capacity_.load(std::memory_order_relaxed); }

  // The chosen ones of a batch of `keys` keys. `rows`: of the table.
  void add(const std::vector<Access>& chosen, std::size_t keys, bool push, std::uint64_t rows);

  // Accesses in the order of their arrival, of the keys whose choice is below `threshold`.
  struct Picture {
    // How many pulls and pushes of all keys there were before accesses[place], about.
    struct Mark {
      std::size_t place;
      std::uint64_t pulls;
      std::uint64_t pushes;
    };

    std::vector<Access> accesses;
    std::vector<Mark> marks;  // In ascending order; the last is that of the end.
    std::uint32_t threshold = 0;

    void keep_below(std::uint32_t lower);
  };
  Picture picture() const;

 private:
  static constexpr std::size_t kMarks = 1024;
  static constexpr std::size_t kFirstLook = 8;

  void append(const Access& access);
  void adapt(std::uint64_t rows);
  // REQUIRES: the mutex is held.
  Picture unrolled() const;
  void roll(Picture&& picture);

  mutable std::mutex mutex_;
  std::atomic<std::size_t> capacity_{0};
  std::atomic<std::uint32_t> threshold_{0};
  std::uint32_t consistent_ = 0;        // All keys below it are in the whole ring.
  std::uint64_t consistent_after_ = 0;  // Accesses that have to come until `threshold_` holds for the whole ring.
  std::vector<Access> ring_;
  std::size_t first_ = 0;             // Oldest of a full ring.
  std::vector<Picture::Mark> marks_;  // Places count from the start of the ring's life, see dropped_.
  std::size_t dropped_ = 0;           // Accesses that were overwritten.
  std::uint64_t pulls_ = 0;
  std::uint64_t pushes_ = 0;
};

}  // namespace rowbank
