#include "bucket.h"

#include <algorithm>
#include <cstring>

namespace rowbank {
namespace {

constexpr std::uint64_t kSmallestRun = 2;  // Rows.
constexpr std::uint64_t kGrowthShare = 8;  // A new run adds about an eighth.
constexpr std::uint64_t kSparseFrom = 8;   // Smaller buckets are not worth compacting.
constexpr std::size_t kDirtySlack = 1024;
constexpr std::size_t kMaxEvictedPlaces = 4096;

std::uint32_t floor_log2(std::uint64_t x) {
  return 63U - static_cast<std::uint32_t>(__builtin_clzll(x));
}

}  // namespace

std::uint64_t Bucket::side_bytes() const {
  return index_.bytes() + dirty_.capacity() * sizeof(std::int64_t) + (sketch_ != nullptr ? sketch_->bytes() : 0) +
         (evicted_ != nullptr ? evicted_->bytes() : 0);
}

std::uint32_t Bucket::count_absent(std::uint64_t hash, std::uint32_t occurrences, std::size_t window) {
  if (sketch_ == nullptr) {
    sketch_ = std::make_unique<AdmissionSketch>(window);
  }
  return sketch_->add(hash, occurrences);
}

void Bucket::note_evicted(std::uint64_t hash, std::uint32_t now) {
  if (evicted_ == nullptr) {
    evicted_ = std::make_unique<RecentlyEvicted>(std::min<std::size_t>(capacity_ / 2, kMaxEvictedPlaces));
  }
  evicted_->note(hash, now);
}

RowRef Bucket::take_row() {
  if (free_ != kNoRow) {
    const RowRef ref = free_;
    free_ = static_cast<RowRef>(header(ref).hash);
    return ref;
  }
  if (unused_count_ == 0) {
    const std::uint32_t wanted = floor_log2(std::max(kSmallestRun, capacity_ / kGrowthShare));
    runs_.reserve(runs_.size() + 1);
    const Run run = arena_->allocate(std::min(wanted, arena_->max_order()));
    runs_.push_back(run);
    capacity_ += run.rows();
    unused_ = run.first;
    unused_count_ = run.rows();
  }
  --unused_count_;
  return unused_++;
}

void Bucket::grow_index(std::size_t entries) {
  KeyIndex larger = KeyIndex::with_room_for(entries);
  for_each_row([&larger](RowRef ref, const RowHeader& header) { larger.insert(header.hash, ref); });
  index_ = std::move(larger);
}

RowRef Bucket::insert(std::uint64_t hash) {
  if (index_.full()) {
    grow_index(index_.size() + index_.size() / 2);
  }
  const RowRef ref = take_row();
  header(ref) = RowHeader{0, 0, hash};
  index_.insert(hash, ref);
  return ref;
}

void Bucket::erase(RowRef ref) {
  RowHeader& gone = header(ref);
  if (!gone.dirty()) {
    remember_dirty(gone.key());
  }
  index_.erase(gone.hash, ref);
  gone.position_and_flags = RowHeader::kVacant;
  gone.hash = free_;
  free_ = ref;
}

void Bucket::release_runs() {
  for (const Run& run : runs_) {
    arena_->release(run);
  }
  runs_.clear();
  runs_.shrink_to_fit();
  capacity_ = 0;
  unused_count_ = 0;
  free_ = kNoRow;
}

void Bucket::copy_frozen(std::uint64_t hash, RowRef ref) {
  if (frozen_->find(hash) != frozen_->end()) {
    return;
  }
  FrozenRow copy;
  if (ref != kNoRow) {
    copy.header = header(ref);
    copy.row = std::make_unique<char[]>(arena_->stride());
    std::memcpy(copy.row.get(), row(ref), arena_->stride());
  }
  frozen_->emplace(hash, std::move(copy));
}

void Bucket::clear() {
  if (frozen()) {
    for_each_row([this](RowRef ref, const RowHeader& header) { copy_frozen(header.hash, ref); });
  }
  index_ = KeyIndex();
  release_runs();
  dirty_ = {};
  dirty_taken_ = 0;
  sketch_.reset();
  evicted_.reset();
}

// Rows are moved, not renamed in place: the new runs are taken first (so that failing to get memory changes nothing),
// rows are copied over in their order, and the old runs go back whole, which is what lets the arena return their pages.
void Bucket::compact_if_sparse() {
  if (capacity_ < kSparseFrom || index_.size() * 2 > capacity_) {
    return;
  }
  Bucket packed;
  packed.attach(arena_);
  try {
    packed.index_ = KeyIndex::with_room_for(size() + size() / 4);
    for_each_row([&](RowRef ref, const RowHeader& old) {
      const RowRef moved = packed.insert(old.hash);
      packed.header(moved) = old;
      std::memcpy(packed.row(moved), row(ref), arena_->stride());
    });
  } catch (...) {
    packed.release_runs();
    return;  // Only memory is lost, and there is none to be had now: stay as we are.
  }
  release_runs();
  index_ = std::move(packed.index_);
  runs_ = std::move(packed.runs_);
  capacity_ = packed.capacity_;
  unused_ = packed.unused_;
  unused_count_ = packed.unused_count_;
}

// A key that is removed and added again between two flushes is listed twice. Should that outgrow the rows themselves,
// the list is reduced to distinct keys.
void Bucket::remember_dirty(std::int64_t key) {
  if (dirty_.size() == dirty_.capacity() && dirty_.size() > 2 * index_.size() + kDirtySlack) {
    dirty_.erase(dirty_.begin(), dirty_.begin() + static_cast<std::ptrdiff_t>(dirty_taken_));
    dirty_taken_ = 0;
    std::sort(dirty_.begin(), dirty_.end());
    dirty_.erase(std::unique(dirty_.begin(), dirty_.end()), dirty_.end());
  }
  dirty_.push_back(key);
}

std::vector<std::int64_t> Bucket::take_dirty_keys(std::size_t limit) {
  const std::size_t count = std::min(limit, dirty_keys());
  const auto first = dirty_.begin() + static_cast<std::ptrdiff_t>(dirty_taken_);
  std::vector<std::int64_t> keys(first, first + static_cast<std::ptrdiff_t>(count));
  dirty_taken_ += count;
  if (dirty_taken_ == dirty_.size()) {
    dirty_ = {};
    dirty_taken_ = 0;
  }
  return keys;
}

}  // namespace rowbank
