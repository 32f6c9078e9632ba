// What mutations of one table agree on while they take their positions and are applied.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>

namespace rowbank {

// Thread-safe.
struct MutationLock {
  std::mutex mutex;
  // The position of the last mutation that is in the journal. Written under the lock.
  std::atomic<std::uint64_t> journaled_position{0};
  // The optimizer that the rows are updated with, serialized. Read and written under the lock.
  std::string optimizer;
};

}  // namespace rowbank
