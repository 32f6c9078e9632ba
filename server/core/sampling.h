// What a batch adds to the access sample.
#pragma once

#include <cstdint>
#include <vector>

#include "access_sample.h"

namespace rowbank {

// Collects the chosen accesses of a batch, without a lock; `end` hands them over. For one thread.
class Sampling {
 public:
  Sampling(AccessSample& sample, bool push, std::uint32_t now)
      : sample_(sample), threshold_(sample.threshold()), push_(push), now_(now) {
    chosen().clear();
  }

  bool wants(std::uint64_t hash) const { return AccessSample::choice(hash) < threshold_; }

  // Of a key that is wanted; `header` is null where there is no row. Not inlined, for the sake of those that are not.
  [[gnu::noinline]] void see(std::uint64_t hash, const RowHeader* header, std::uint32_t occurrences) {
    const std::uint32_t flags = (push_ ? Access::kPush : 0) | (header != nullptr ? Access::kFound : 0);
    chosen().push_back({hash, now_, header != nullptr ? header->usage() : Usage{},
                        flags | std::min(occurrences, Access::kMostOccurrences)});
  }

  void end(std::size_t keys, std::uint64_t rows) {
    if (threshold_ > 0) {
      sample_.add(chosen(), keys, push_, rows);
    }
  }

 private:
  static std::vector<Access>& chosen() {
    thread_local std::vector<Access> accesses;
    return accesses;
  }

  AccessSample& sample_;
  const std::uint32_t threshold_;
  const bool push_;
  const std::uint32_t now_;
};

}  // namespace rowbank
