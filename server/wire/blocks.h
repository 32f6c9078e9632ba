// Memory for answers, used again and again: fresh pages for each megabyte cost more than filling them.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

namespace rowbank::wire {

// Thread-safe. Blocks may outlive it.
class Blocks {
 public:
  // A block of at least that size, given back when the last reference goes. Throws std::bad_alloc.
  std::shared_ptr<char> take(std::size_t size) {
    auto pool = pool_;
    std::unique_ptr<Block> block;
    {
      const std::lock_guard<std::mutex> locked(pool->mutex);
      if (!pool->free.empty()) {
        block = std::move(pool->free.back());  // The one that was used last, for what is left of it in the caches.
        pool->free.pop_back();
      }
    }
    if (block == nullptr) {
      block = std::make_unique<Block>();
    }
    if (block->size < size) {
      block->data.reset(new char[size]);
      block->size = size;
    }
    char* data = block->data.get();
    auto* kept = block.release();
    return {data, [pool, kept](char*) {
              std::unique_ptr<Block> back(kept);
              const std::lock_guard<std::mutex> locked(pool->mutex);
              if (back->size <= kLargestKept && pool->free.size() < kMostKept) {
                pool->free.push_back(std::move(back));
              }
            }};
  }

 private:
  static constexpr std::size_t kMostKept = 8;
  static constexpr std::size_t kLargestKept = std::size_t{8} << 20;

  struct Block {
    std::unique_ptr<char[]> data;
    std::size_t size = 0;
  };
  struct Pool {
    std::mutex mutex;
    std::vector<std::unique_ptr<Block>> free;
  };
  std::shared_ptr<Pool> pool_ = std::make_shared<Pool>();
};

}  // namespace rowbank::wire
