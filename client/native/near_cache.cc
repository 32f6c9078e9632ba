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
constexpr std::size_t kRowsAhead = 4;
constexpr std::size_t kLineFloats = 16;
constexpr std::size_t kFetched = 128;  // Floats of a row; the CPU finds out about the rest by itself.
constexpr std::size_t kLooked = 4;     // Places that are looked at for an old row before new memory is taken.
constexpr std::size_t kFirstEntries = 4;

std::uint32_t hash_of(std::int64_t key) {
  return static_cast<std::uint32_t>(mix(key) >> 32);
}

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
    : dim_(dim), max_steps_(max_staleness_steps), mask_(kFirstEntries - 1), index_(kFirstEntries) {
  // The index has at most four entries a row, six while it grows, the list of free slots one.
  const std::size_t row_bytes = dim * sizeof(float) + sizeof(Slot) + 6 * sizeof(Entry) + sizeof(std::uint32_t);
  const std::size_t capacity = std::min(bytes / row_bytes, std::size_t{1} << 30);
  // Not written before they are used, so that an empty cache takes little memory.
  slots_.reset(new Slot[capacity]);
  rows_.reset(new float[capacity * dim]);
  ages_.resize(std::min<std::uint64_t>(max_steps_, kAgesKept - 1) + 1);
  counts_.capacity = capacity;
  counts_.bytes = capacity * row_bytes;
}

std::size_t NearCache::find(std::int64_t key, std::uint32_t hash) const {
  std::size_t at = hash & mask_;
  while (index_[at].slot != 0 && (index_[at].hash != hash || slots_[index_[at].slot - 1].key != key)) {
    at = (at + 1) & mask_;
  }
  return at;
}

void NearCache::fetch_entries(const std::int64_t* keys, std::size_t at, std::size_t count) const {
  if (at + kAhead < count) __builtin_prefetch(&index_[hash_of(keys[at + kAhead]) & mask_]);
}

void NearCache::fetch_row(std::uint32_t slot) const {
  if (slot == 0) return;
  __builtin_prefetch(&slots_[slot - 1]);
  const float* row = &rows_[(slot - 1) * dim_];
  for (std::size_t d = 0; d < std::min(dim_, kFetched); d += kLineFloats) __builtin_prefetch(row + d);
}

std::size_t NearCache::read(const std::int64_t* keys, std::size_t count, float* rows, std::uint8_t* status,
                            std::int64_t* missing, std::uint64_t* token) {
  std::vector<std::uint32_t> found(count);
  const std::lock_guard lock(mutex_);
  ++clock_;
  wrote_ = false;
  // By hashes alone; the keys are compared below, when their slots have come near.
  for (std::size_t i = 0; i < count; ++i) {
    fetch_entries(keys, i, count);
    const std::uint32_t hash = hash_of(keys[i]);
    std::size_t at = hash & mask_;
    while (index_[at].slot != 0 && index_[at].hash != hash) at = (at + 1) & mask_;
    found[i] = index_[at].slot;
  }
  std::size_t misses = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (i + kRowsAhead < count) fetch_row(found[i + kRowsAhead]);
    std::uint32_t entry = found[i];
    if (entry != 0 && slots_[entry - 1].key != keys[i]) entry = index_[find(keys[i], hash_of(keys[i]))].slot;
    if (entry == 0 || !usable(slots_[entry - 1])) {
      missing[misses++] = static_cast<std::int64_t>(i);
      continue;
    }
    Slot& slot = slots_[entry - 1];
    slot.used = true;
    status[i] = slot.status;
    std::memcpy(rows + i * dim_, &rows_[(entry - 1) * dim_], dim_ * sizeof(float));
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
    if (i + kAhead < place_count) __builtin_prefetch(&index_[hash_of(keys[places[i + kAhead]]) & mask_]);
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
    for (std::size_t i = 0; i < count; ++i) {
      fetch_entries(keys, i, count);
      counts_.invalidated += drop(keys[i]);
    }
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
    fetch_entries(keys.data(), i, keys.size());
    const std::uint32_t entry = index_[find(keys[i], hash_of(keys[i]))].slot;
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
  const std::uint32_t hash = hash_of(key);
  std::uint32_t entry = index_[find(key, hash)].slot;
  if (entry != 0 && slots_[entry - 1].step > step) return;  // A read that began later came back earlier.
  const bool known = entry != 0;
  if (!known) {
    entry = free_slot() + 1;
    if (2 * (counts_.rows + 1) > index_.size()) grow();
    index_[find(key, hash)] = {hash, entry};  // Looked for again: making room moves entries.
    ++counts_.rows;
  }
  Slot& slot = slots_[entry - 1];
  slot = {key, step, status, known && slot.used, true};
  std::memcpy(&rows_[(entry - 1) * dim_], row, dim_ * sizeof(float));
}

// The slot under the hand, which moves on.
NearCache::Slot& NearCache::pass() {
  Slot& slot = slots_[hand_];
  hand_ = hand_ + 1 < filled_ ? hand_ + 1 : 0;
  return slot;
}

std::uint32_t NearCache::free_slot() {
  if (free_.empty() && filled_ < counts_.capacity) {
    for (std::size_t looked = 0; free_.empty() && looked < std::min(kLooked, filled_); ++looked) {
      const Slot& slot = pass();
      if (slot.held && !usable(slot)) counts_.evicted += drop(slot.key);
    }
    if (free_.empty()) {
      slots_[filled_].held = false;
      return static_cast<std::uint32_t>(filled_++);
    }
  }
  while (free_.empty()) {
    Slot& slot = pass();
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
  std::size_t hole = find(key, hash_of(key));
  if (index_[hole].slot == 0) return false;
  slots_[index_[hole].slot - 1].held = false;
  free_.push_back(index_[hole].slot - 1);
  --counts_.rows;
  // Entries after the hole that may stand in it move there, so that no search ends early.
  for (std::size_t at = (hole + 1) & mask_; index_[at].slot != 0; at = (at + 1) & mask_) {
    if (((at - index_[at].hash) & mask_) >= ((at - hole) & mask_)) {
      index_[hole] = index_[at];
      hole = at;
    }
  }
  index_[hole] = {};
  return true;
}

void NearCache::drop_all() {
  counts_.invalidated += counts_.rows;
  counts_.rows = 0;
  std::fill(index_.begin(), index_.end(), Entry{});
  free_.clear();
  filled_ = 0;
  hand_ = 0;
}

// Twice as many entries, of which half at most are taken.
void NearCache::grow() {
  std::vector<Entry> old(2 * index_.size());
  old.swap(index_);
  mask_ = index_.size() - 1;
  for (const Entry& entry : old) {
    if (entry.slot == 0) continue;
    std::size_t at = entry.hash & mask_;
    while (index_[at].slot != 0) at = (at + 1) & mask_;
    index_[at] = entry;
  }
}

}  // namespace rowbank::client
