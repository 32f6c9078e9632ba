#include "cold_rows.h"

#include <algorithm>
#include <cstring>

#include "hash.h"

namespace rowbank {
namespace {

constexpr std::size_t kLeastPlaces = 16;

void append(ColdDeletes& to, const ColdDeletes& more) {
  to.keys.insert(to.keys.end(), more.keys.begin(), more.keys.end());
  to.slots.insert(to.slots.end(), more.slots.begin(), more.slots.end());
}

}  // namespace

ColdMap::ColdMap() : entries_(kLeastPlaces) {}

std::size_t ColdMap::home(std::int64_t key) const {
  return static_cast<std::size_t>(hash_key(key)) & (entries_.size() - 1);
}

ColdMap::Entry* ColdMap::find(std::int64_t key) {
  for (std::size_t at = home(key); entries_[at].place != kEmpty; at = (at + 1) & (entries_.size() - 1)) {
    if (entries_[at].key == key) {
      return &entries_[at];
    }
  }
  return nullptr;
}

void ColdMap::put(std::int64_t key, std::uint64_t stamp, std::uint8_t place) {
  if (Entry* const entry = find(key)) {
    *entry = {key, stamp, place};
    return;
  }
  if ((size_ + 1) * 3 > entries_.size() * 2) {
    grow();
  }
  std::size_t at = home(key);
  while (entries_[at].place != kEmpty) {
    at = (at + 1) & (entries_.size() - 1);
  }
  entries_[at] = {key, stamp, place};
  ++size_;
}

// What follows moves up where it may, so that no search has to pass over a place that was left.
void ColdMap::erase(std::int64_t key) {
  Entry* const entry = find(key);
  if (entry == nullptr) {
    return;
  }
  const std::size_t mask = entries_.size() - 1;
  auto hole = static_cast<std::size_t>(entry - entries_.data());
  for (std::size_t at = (hole + 1) & mask; entries_[at].place != kEmpty; at = (at + 1) & mask) {
    if (((at - home(entries_[at].key)) & mask) >= ((at - hole) & mask)) {
      entries_[hole] = entries_[at];
      hole = at;
    }
  }
  entries_[hole] = Entry{};
  --size_;
}

void ColdMap::clear() {
  entries_.assign(kLeastPlaces, Entry{});
  entries_.shrink_to_fit();
  size_ = 0;
}

void ColdMap::grow() {
  std::vector<Entry> former(entries_.size() * 2);
  former.swap(entries_);
  size_ = 0;
  for (const Entry& entry : former) {
    if (entry.place != kEmpty) {
      put(entry.key, entry.stamp, entry.place);
    }
  }
}

void ColdRows::delete_later(std::int64_t key, std::uint8_t slot) {
  deletes_.keys.push_back(key);
  deletes_.slots.push_back(slot);
}

// Whatever the store may have of the key is to be deleted.
void ColdRows::forget_waiting(ColdMap::Entry& entry) {
  if (entry.place == cold::kWaiting) {
    rows_.erase(entry.key);
  } else if (entry.place <= cold::kSomeSlot) {
    delete_later(entry.key, entry.place);
  }
}

std::uint64_t ColdRows::evicted(KeySpan keys, const char* packed, std::uint64_t stamp) {
  const std::lock_guard lock(mutex_);
  std::uint64_t kept = 0;
  for (std::size_t i = 0; i < keys.size; ++i) {
    const std::int64_t key = keys.data[i];
    if (ColdMap::Entry* const entry = map_.find(key)) {
      forget_waiting(*entry);
    } else if (!listed_) {
      delete_later(key, cold::kSomeSlot);
    }
    if (rows_.size() >= max_waiting_) {
      if (listed_) {
        map_.erase(key);
      } else {
        map_.put(key, 0, cold::kGone);
      }
      continue;
    }
    auto row = std::make_unique<char[]>(row_bytes_);
    std::memcpy(row.get(), packed + i * row_bytes_, row_bytes_);
    rows_[key] = std::move(row);
    order_.emplace_back(key, stamp);
    map_.put(key, stamp, cold::kWaiting);
    ++kept;
  }
  return kept;
}

void ColdRows::evicted_elsewhere(KeySpan keys, std::uint64_t stamp) {
  const std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < keys.size; ++i) {
    if (ColdMap::Entry* const entry = map_.find(keys.data[i])) {
      if (entry->place == cold::kWaiting) {
        rows_.erase(keys.data[i]);
      }
    }
    map_.put(keys.data[i], stamp, cold::kSomeSlot);
  }
}

std::uint64_t ColdRows::forget(KeySpan keys) {
  const std::lock_guard lock(mutex_);
  std::uint64_t known = 0;
  for (std::size_t i = 0; i < keys.size; ++i) {
    const std::int64_t key = keys.data[i];
    ColdMap::Entry* const entry = map_.find(key);
    if (entry != nullptr && entry->place == cold::kGone) {
      continue;
    }
    if (entry != nullptr) {
      forget_waiting(*entry);
      ++known;
    } else if (!listed_) {
      delete_later(key, cold::kSomeSlot);
    }
    if (!listed_) {
      map_.put(key, 0, cold::kGone);
    } else if (entry != nullptr) {
      map_.erase(key);
    }
  }
  return known;
}

std::uint64_t ColdRows::clear(bool listed) {
  const std::lock_guard lock(mutex_);
  std::uint64_t rows = 0;
  map_.for_each([&](const ColdMap::Entry& entry) { rows += entry.place != cold::kGone ? 1 : 0; });
  map_.clear();
  aside_.clear();
  rows_.clear();
  order_.clear();
  deletes_ = {};
  under_way_ = {};
  listed_ = listed;
  ++listing_;
  return rows;
}

ColdFound ColdRows::find(KeySpan keys) {
  ColdFound found;
  const std::lock_guard lock(mutex_);
  if (listed_ && map_.size() == 0) {
    return found;
  }
  ColdMap seen;
  for (std::size_t i = 0; i < keys.size; ++i) {
    const ColdMap::Entry* const entry = map_.find(keys.data[i]);
    if (entry == nullptr ? listed_ : entry->place == cold::kGone) {
      continue;
    }
    if (seen.find(keys.data[i]) != nullptr) {
      continue;
    }
    seen.put(keys.data[i], 0, 0);
    found.at.push_back(static_cast<std::int64_t>(i));
    found.stamps.push_back(entry == nullptr ? 0 : entry->stamp);
    found.places.push_back(entry == nullptr ? cold::kSomeSlot : entry->place);
  }
  return found;
}

std::vector<char> ColdRows::waiting_row(std::int64_t key) {
  const std::lock_guard lock(mutex_);
  const auto row = rows_.find(key);
  if (row == rows_.end()) {
    return {};
  }
  return {row->second.get(), row->second.get() + row_bytes_};
}

void ColdRows::hold(KeySpan keys, const std::uint64_t* stamps, std::uint8_t* held) {
  const std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < keys.size; ++i) {
    const ColdMap::Entry* const entry = map_.find(keys.data[i]);
    held[i] = entry != nullptr && entry->place != cold::kGone && entry->stamp == stamps[i] ? 1 : 0;
  }
}

bool ColdRows::confirm(std::int64_t key, std::uint64_t stamp, std::uint8_t slot) {
  const std::lock_guard lock(mutex_);
  ColdMap::Entry* const entry = map_.find(key);
  if (entry == nullptr) {
    if (listed_) {
      return false;
    }
    map_.put(key, stamp, slot);
    return true;
  }
  if (entry->place > cold::kSomeSlot || (entry->stamp != 0 && entry->stamp != stamp)) {
    return false;
  }
  entry->stamp = stamp;
  entry->place = slot;
  return true;
}

std::uint64_t ColdRows::lost(KeySpan keys, const std::uint64_t* stamps) {
  const std::lock_guard lock(mutex_);
  std::uint64_t known = 0;
  for (std::size_t i = 0; i < keys.size; ++i) {
    ColdMap::Entry* const entry = map_.find(keys.data[i]);
    if (entry == nullptr || entry->place > cold::kSomeSlot || entry->stamp != stamps[i]) {
      continue;
    }
    delete_later(keys.data[i], entry->place);
    if (listed_) {
      map_.erase(keys.data[i]);
    } else {
      map_.put(keys.data[i], 0, cold::kGone);
    }
    ++known;
  }
  return known;
}

std::uint64_t ColdRows::listing() {
  const std::lock_guard lock(mutex_);
  return listing_;
}

bool ColdRows::listed() {
  const std::lock_guard lock(mutex_);
  return listed_;
}

void ColdRows::list(KeySpan keys, std::uint8_t slot, std::uint64_t listing) {
  const std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < keys.size && listing == listing_ && !listed_; ++i) {
    ColdMap::Entry* const entry = map_.find(keys.data[i]);
    if (entry == nullptr) {
      map_.put(keys.data[i], 0, slot);
    } else if (entry->place == cold::kSomeSlot) {
      entry->place = slot;
    } else if (entry->place < cold::kSlots && entry->place != slot) {
      // Two copies. The stamp tells which one it is, or nobody knows.
      if (entry->stamp != 0) {
        entry->place = cold::kSomeSlot;
      } else {
        delete_later(keys.data[i], cold::kSomeSlot);
        map_.put(keys.data[i], 0, cold::kGone);
      }
    }
  }
}

void ColdRows::list_stale(KeySpan keys, std::uint8_t slot) {
  const std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < keys.size; ++i) {
    delete_later(keys.data[i], slot);
  }
}

void ColdRows::finish_listing(std::uint64_t listing) {
  const std::lock_guard lock(mutex_);
  if (listing != listing_ || listed_) {
    return;
  }
  listed_ = true;
  map_.erase_where([](const ColdMap::Entry& entry) { return entry.place == cold::kGone; });
}

ColdDeletes ColdRows::take_deletes() {
  const std::lock_guard lock(mutex_);
  const ColdDeletes wanted = std::exchange(deletes_, {});
  append(under_way_, wanted);
  ColdDeletes taken;
  for (std::size_t i = 0; i < wanted.keys.size(); ++i) {
    const ColdMap::Entry* const entry = map_.find(wanted.keys[i]);
    const std::uint8_t kept = entry == nullptr ? cold::kGone : entry->place;
    const bool all = wanted.slots[i] >= cold::kSlots;
    if (kept >= cold::kSlots || (!all && wanted.slots[i] != kept)) {
      taken.keys.push_back(wanted.keys[i]);
      taken.slots.push_back(wanted.slots[i]);
      continue;
    }
    for (std::uint8_t slot = 0; all && slot < cold::kSlots; ++slot) {
      if (slot != kept) {
        taken.keys.push_back(wanted.keys[i]);
        taken.slots.push_back(slot);
      }
    }
  }
  return taken;
}

void ColdRows::correct(KeySpan keys, const std::uint64_t* stamps, const char* packed) {
  const std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < keys.size; ++i) {
    const ColdMap::Entry* const entry = map_.find(keys.data[i]);
    if (entry != nullptr && entry->place == cold::kWaiting && entry->stamp == stamps[i]) {
      std::memcpy(rows_[keys.data[i]].get(), packed + i * row_bytes_, row_bytes_);
    }
  }
}

ColdWaiting ColdRows::waiting(std::size_t limit) {
  const std::lock_guard lock(mutex_);
  ColdWaiting result;
  std::size_t passed = 0;
  for (const auto& [key, stamp_then] : order_) {
    if (result.keys.size() == limit) {
      break;
    }
    ColdMap::Entry* const entry = map_.find(key);
    const auto row = rows_.find(key);
    if (row == rows_.end() || entry == nullptr || entry->stamp != stamp_then) {
      passed += result.keys.empty() ? 1 : 0;
      continue;
    }
    result.keys.push_back(key);
    result.stamps.push_back(entry->stamp);
    const auto* const stamp = reinterpret_cast<const char*>(&entry->stamp);
    result.fields.insert(result.fields.end(), stamp, stamp + sizeof entry->stamp);
    result.fields.insert(result.fields.end(), row->second.get(), row->second.get() + row_bytes_);
  }
  order_.erase(order_.begin(), order_.begin() + static_cast<std::ptrdiff_t>(passed));
  return result;
}

void ColdRows::written(KeySpan keys, const std::uint64_t* stamps, std::uint8_t slot) {
  const std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < keys.size; ++i) {
    ColdMap::Entry* const entry = map_.find(keys.data[i]);
    if (entry != nullptr && entry->place == cold::kWaiting && entry->stamp == stamps[i]) {
      entry->place = slot;
      rows_.erase(keys.data[i]);
    } else {
      delete_later(keys.data[i], slot);  // It came back, or was evicted again, while it was written.
    }
  }
}

std::uint64_t ColdRows::drop_slot(std::uint8_t slot) {
  const std::lock_guard lock(mutex_);
  const std::size_t before = map_.size();
  map_.erase_where([slot](const ColdMap::Entry& entry) { return entry.place == slot; });
  return before - map_.size();
}

void ColdRows::put_aside() {
  const std::lock_guard lock(mutex_);
  map_.for_each([this](const ColdMap::Entry& entry) { aside_.put(entry.key, entry.stamp, entry.place); });
  map_.clear();
  append(under_way_, std::exchange(deletes_, {}));
  listed_ = false;
}

void ColdRows::settle() {
  const std::lock_guard lock(mutex_);
  aside_.for_each([this](const ColdMap::Entry& entry) {
    const ColdMap::Entry* const now = map_.find(entry.key);
    if (entry.place == cold::kWaiting && (now == nullptr || now->place != cold::kWaiting)) {
      rows_.erase(entry.key);
    }
  });
  aside_.clear();
  under_way_ = {};
  if (order_.size() > 2 * rows_.size() + kLeastPlaces) {
    std::erase_if(order_, [this](const auto& waiting) { return rows_.find(waiting.first) == rows_.end(); });
  }
}

void ColdRows::unsettle() {
  const std::lock_guard lock(mutex_);
  aside_.for_each([this](const ColdMap::Entry& entry) {
    if (map_.find(entry.key) == nullptr) {
      map_.put(entry.key, entry.stamp, entry.place);
    } else if (entry.place == cold::kWaiting && map_.find(entry.key)->place != cold::kWaiting) {
      rows_.erase(entry.key);
    }
  });
  aside_.clear();
  append(under_way_, deletes_);
  deletes_ = std::exchange(under_way_, {});
}

ColdCounts ColdRows::counts() {
  const std::lock_guard lock(mutex_);
  ColdCounts counts;
  map_.for_each([&](const ColdMap::Entry& entry) {
    if (entry.place <= cold::kSomeSlot) {
      ++counts.slots[entry.place];
    }
  });
  counts.waiting = rows_.size();
  counts.map_bytes = map_.bytes();
  return counts;
}

}  // namespace rowbank
