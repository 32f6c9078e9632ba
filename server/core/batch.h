// A batch of keys in the order in which it is cheapest to visit them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace rowbank {

// Keys grouped by bucket, ascending; within a bucket in the order of the input, so that repeats of a key keep their
// order. Hashing and a counting sort; the arrays belong to the thread and are reused from batch to batch, so that
// megabyte buffers are not faulted in anew each time. One batch at a time per thread.
class Batch {
 public:
  Batch(const std::int64_t* keys, std::size_t size, std::uint32_t bucket_count);

  std::size_t size() const { return size_; }
  const std::int64_t* keys() const { return keys_; }
  // The place in the input of the i-th key to visit.
  std::uint32_t at(std::size_t i) const { return order_[i]; }
  std::uint64_t hash(std::uint32_t place) const { return hashes_[place]; }

 private:
  const std::int64_t* keys_;
  std::size_t size_;
  const std::uint64_t* hashes_;
  const std::uint32_t* order_;
};

// The distinct keys of a push, in the order of their first occurrence, each with the chain of its occurrences.
class Distinct {
 public:
  static constexpr std::uint32_t kEnd = 0xFFFFFFFFU;

  Distinct(const std::int64_t* keys, std::size_t size);

  std::size_t size() const { return size_; }
  const std::int64_t* keys() const { return keys_; }
  std::uint32_t first(std::uint32_t distinct) const { return first_[distinct]; }
  // The next occurrence after that place of the input, or kEnd.
  std::uint32_t next(std::uint32_t place) const { return next_[place]; }

 private:
  std::size_t size_ = 0;
  const std::int64_t* keys_;
  const std::uint32_t* first_;
  const std::uint32_t* next_;
};

// The thread's scratch floats, at least `count` of them. Overwritten by the next call on the same thread.
float* thread_scratch(std::size_t count);

}  // namespace rowbank
