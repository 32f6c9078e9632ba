#include "batch.h"

#include <algorithm>

#include "hash.h"

namespace rowbank {
namespace {

constexpr std::size_t kKeptElements = std::size_t{1} << 20;

// Grows like a vector, but a batch far above the usual does not keep its memory for ever.
template <typename T>
T* sized(std::vector<T>& buffer, std::size_t size) {
  if (buffer.capacity() > kKeptElements && size <= kKeptElements) {
    std::vector<T>().swap(buffer);
  }
  if (buffer.size() < size) {
    buffer.resize(size);
  }
  return buffer.data();
}

struct BatchScratch {
  std::vector<std::uint64_t> hashes;
  std::vector<std::uint32_t> order;
  std::vector<std::uint32_t> starts;
};

struct DistinctScratch {
  std::vector<std::uint32_t> table;
  std::vector<std::int64_t> keys;
  std::vector<std::uint32_t> first;
  std::vector<std::uint32_t> last;
  std::vector<std::uint32_t> next;
};

}  // namespace

Batch::Batch(const std::int64_t* keys, std::size_t size, std::uint32_t bucket_count) : keys_(keys), size_(size) {
  thread_local BatchScratch scratch;
  std::uint64_t* hashes = sized(scratch.hashes, size);
  std::uint32_t* order = sized(scratch.order, size);
  std::uint32_t* starts = sized(scratch.starts, bucket_count + 1);
  std::fill(starts, starts + bucket_count + 1, 0U);
  for (std::size_t i = 0; i < size; ++i) {
    hashes[i] = hash_key(keys[i]);
    ++starts[bucket_of_hash(hashes[i], bucket_count) + 1];
  }
  for (std::uint32_t bucket = 0; bucket < bucket_count; ++bucket) {
    starts[bucket + 1] += starts[bucket];
  }
  for (std::size_t i = 0; i < size; ++i) {
    order[starts[bucket_of_hash(hashes[i], bucket_count)]++] = static_cast<std::uint32_t>(i);
  }
  hashes_ = hashes;
  order_ = order;
}

Distinct::Distinct(const std::int64_t* keys, std::size_t size) {
  thread_local DistinctScratch scratch;
  std::size_t slots = 16;
  while (slots < 2 * size) {
    slots *= 2;
  }
  std::uint32_t* table = sized(scratch.table, slots);
  std::int64_t* distinct = sized(scratch.keys, size);
  std::uint32_t* first = sized(scratch.first, size);
  std::uint32_t* last = sized(scratch.last, size);
  std::uint32_t* next = sized(scratch.next, size);
  std::fill(table, table + slots, kEnd);
  for (std::size_t i = 0; i < size; ++i) {
    const auto place = static_cast<std::uint32_t>(i);
    next[i] = kEnd;
    std::size_t slot = hash_key(keys[i]) & (slots - 1);
    while (table[slot] != kEnd && distinct[table[slot]] != keys[i]) {
      slot = (slot + 1) & (slots - 1);
    }
    if (table[slot] == kEnd) {
      table[slot] = static_cast<std::uint32_t>(size_);
      distinct[size_] = keys[i];
      first[size_] = place;
      last[size_] = place;
      ++size_;
    } else {
      next[last[table[slot]]] = place;
      last[table[slot]] = place;
    }
  }
  keys_ = distinct;
  first_ = first;
  next_ = next;
}

float* thread_scratch(std::size_t count) {
  thread_local std::vector<float> scratch;
  return sized(scratch, count);
}

}  // namespace rowbank
