#include "near_cache.h"

#include <algorithm>
#include <cstring>

#include "mix.h"

namespace rowbank::client {
namespace {

constexpr std::uint8_t kFound = 1;        // RowStatus, as the wire has it.
constexpr std::uint8_t kInitialized = 2;  // Others change with rows that are not theirs, and are not kept.
constexpr std::size_t kAgesKept = 65;
constexpr std::size_t kMostWritten = 1'000'000;  // Keys noted for one read; beyond, it keeps nothing.
constexpr std::size_t kAhead = 12;

}  // namespace

void NearCache::Written::add(const Written& other) {
  all = all || other.all || keys.size() + other.keys.size() > kMostWritten;
  if (all) {
    keys.clear();
  } else {
    keys.insert(keys.end(), other.keys.begin(), other.keys.end());
  }
}

NearCache::NearCache(std::size_t dim, std::size_t bytes, std::uint64_t max_staleness_steps)
    : dim_(dim), max_steps_(max_staleness_steps) {
  // The index has at most four entries a row, the list of free slots one.
  const std::size_t row_bytes = dim * sizeof(float) + sizeof(Slot) + 5 * sizeof(std::uint32_t);
  const std::size_t capacity = std::min(bytes / row_bytes, std::size_t{1} << 31);
  std::size_t entries = 2;
  while (entries < 2 * capacity) entries *= 2;
  mask_ = entries - 1;
  index_ = std::make_unique<std::uint32_t[]>(entries);
  // Not written before they are used, so that an empty cache takes little memory.
  slots_.reset(new Slot[capacity]);
  rows_.reset(new float[capacity * dim]);
  ages_.resize(std::min<std::uint64_t>(max_steps_, kAgesKept - 1) + 1);
  counts_.capacity = capacity;
  counts_.bytes = capacity * (row_bytes - 4 * sizeof(std::uint32_t)) + entries * sizeof(std::uint32_t);
}

std::size_t NearCache::home(std::int64_t key) const {
  return mix(key) & mask_;
}

std::size_t NearCache::find(std::int64_t key) const {
  std::size_t at = home(key);
  while (index_[at] != 0 && slots_[index_[at] - 1].key != key) at = (at + 1) & mask_;
  return at;
}

std::size_t NearCache::read(const std::int64_t* keys, std::size_t count, float* rows, std::uint8_t* status,
                            std::int64_t* missing, std::uint64_t* token) {
  const std::lock_guard lock(mutex_);
  ++clock_;
  wrote_ = false;
  std::size_t misses = 0;
  std::vector<std::uint32_t> found(count);
  for (std::size_t i = 0; i < count; ++i) {
    if (i + kAhead < count) __builtin_prefetch(&index_[home(keys[i + kAhead])]);
    found[i] = index_[find(keys[i])];
    if (found[i] != 0) __builtin_prefetch(&rows_[(found[i] - 1) * dim_]);
  }
  for (std::size_t i = 0; i < count; ++i) {
    if (found[i] == 0 || !usable(slots_[found[i] - 1])) {
      missing[misses++] = static_cast<std::int64_t>(i);
      continue;
    }
    Slot& slot = slots_[found[i] - 1];
    slot.used = true;
    status[i] = slot.status;
    std::memcpy(rows + i * dim_, &rows_[(found[i] - 1) * dim_], dim_ * sizeof(float));
    ++ages_[std::min<std::uint64_t>(clock_ - slot.step, ages_.size() - 1)];
  }
  counts_.hits += count - misses;
  counts_.misses += misses;
  *token = 0;
  if (misses > 0) {
    *token = next_token_++;
    Read& read = reads_[*token];
    read.step = clock_;
    for (const auto& [_, write] : writes_) read.written.add(write);
  }
  return misses;
}

void NearCache::fill(std::uint64_t token, const std::int64_t* keys, const float* rows, const std::uint8_t* status,
                     const std::int64_t* places, std::size_t place_count) {
  const std::lock_guard lock(mutex_);
  const auto read = reads_.find(token);
  if (read == reads_.end()) return;
  Written written = std::move(read->second.written);
  const std::uint64_t step = read->second.step;
  reads_.erase(read);
  if (written.all || counts_.capacity == 0) return;
  std::sort(written.keys.begin(), written.keys.end());
  for (std::size_t i = 0; i < place_count; ++i) {
    const auto place = static_cast<std::size_t>(places[i]);
    if (status[place] != kFound && status[place] != kInitialized) continue;
    if (std::binary_search(written.keys.begin(), written.keys.end(), keys[place])) continue;
    keep(keys[place], rows + place * dim_, status[place], step);
  }
}

std::uint64_t NearCache::begin_write(const std::int64_t* keys, std::size_t count, bool all, bool will_apply) {
  Written written;
  written.all = all;
  if (!all) written.keys.assign(keys, keys + count);
  const std::lock_guard lock(mutex_);
  if (wrote_) ++clock_;
  wrote_ = true;
  for (auto& [_, read] : reads_) read.written.add(written);
  if (all) {
    drop_all();
  } else if (!will_apply) {
    for (std::size_t i = 0; i < count; ++i) counts_.invalidated += drop(keys[i]);
  }
  const std::uint64_t token = next_token_++;
  writes_.emplace(token, std::move(written));
  return token;
}

void NearCache::end_write(std::uint64_t token, const float* gradients, float learning_rate) {
  const std::lock_guard lock(mutex_);
  const auto write = writes_.find(token);
  if (write == writes_.end()) return;
  const std::vector<std::int64_t> keys = std::move(write->second.keys);
  writes_.erase(write);
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const std::uint32_t entry = index_[find(keys[i])];
    if (entry == 0) continue;
    if (gradients == nullptr || slots_[entry - 1].status != kFound) {
      counts_.invalidated += drop(keys[i]);
      continue;
    }
    float* row = &rows_[(entry - 1) * dim_];
    const float* gradient = gradients + i * dim_;
    for (std::size_t d = 0; d < dim_; ++d) row[d] += -gradient[d] * learning_rate;  // As the server's kernel does.
    ++counts_.applied;
  }
}

std::size_t NearCache::written(std::uint64_t token) const {
  const std::lock_guard lock(mutex_);
  const auto write = writes_.find(token);
  return write == writes_.end() ? 0 : write->second.keys.size();
}

NearCounts NearCache::counts() const {
  const std::lock_guard lock(mutex_);
  return counts_;
}

std::vector<std::uint64_t> NearCache::ages() const {
  const std::lock_guard lock(mutex_);
  return ages_;
}

void NearCache::keep(std::int64_t key, const float* row, std::uint8_t status, std::uint64_t step) {
  std::uint32_t entry = index_[find(key)];
  if (entry != 0 && slots_[entry - 1].step > step) return;  // A read that began later came back earlier.
  const bool known = entry != 0;
  if (!known) {
    entry = free_slot() + 1;
    index_[find(key)] = entry;  // Looked for again: making room moves entries.
    ++counts_.rows;
  }
  Slot& slot = slots_[entry - 1];
  slot = {key, step, status, known && slot.used, true};
  std::memcpy(&rows_[(entry - 1) * dim_], row, dim_ * sizeof(float));
}

std::uint32_t NearCache::free_slot() {
  if (free_.empty() && filled_ < counts_.capacity) {
    slots_[filled_].held = false;
    return static_cast<std::uint32_t>(filled_++);
  }
  while (free_.empty()) {
    Slot& slot = slots_[hand_];
    hand_ = hand_ + 1 < counts_.capacity ? hand_ + 1 : 0;
    if (slot.used && usable(slot)) {
      slot.used = false;
    } else if (slot.held) {
      counts_.evicted += drop(slot.key);
    }
  }
  const std::uint32_t slot = free_.back();
  free_.pop_back();
  return slot;
}

bool NearCache::drop(std::int64_t key) {
  std::size_t hole = find(key);
  if (index_[hole] == 0) return false;
  slots_[index_[hole] - 1].held = false;
  free_.push_back(index_[hole] - 1);
  --counts_.rows;
  // Entries after the hole that may stand in it move there, so that no search ends early.
  for (std::size_t at = (hole + 1) & mask_; index_[at] != 0; at = (at + 1) & mask_) {
    const std::size_t wanted = home(slots_[index_[at] - 1].key);
    if (((at - wanted) & mask_) >= ((at - hole) & mask_)) {
      index_[hole] = index_[at];
      hole = at;
    }
  }
  index_[hole] = 0;
  return true;
}

void NearCache::drop_all() {
  counts_.invalidated += counts_.rows;
  counts_.rows = 0;
  std::fill_n(index_.get(), mask_ + 1, 0U);
  free_.clear();
  filled_ = 0;
  hand_ = 0;
}

}  // namespace rowbank::client
