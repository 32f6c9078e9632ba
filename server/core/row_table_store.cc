// Write-back: what changed since it was last taken, and loading what was written.
#include <algorithm>

#include "packed_row.h"
#include "row_table.h"
#include "table_visit.h"

namespace rowbank {

std::size_t RowTable::packed_row_bytes() const {
  return rowbank::packed_row_bytes(layout_);
}

void RowTable::positions(KeySpan keys, std::uint64_t* out) const {
  const Batch batch(keys.data, keys.size, options_.bucket_count);
  visit<SharedLock>(batch, {}, [&](Bucket& bucket, std::uint32_t place, std::uint64_t, RowRef ref) {
    out[place] = ref == kNoRow ? 0 : bucket.header(ref).position();
  });
}

void RowTable::frequencies(KeySpan keys, std::uint32_t* out) const {
  const Batch batch(keys.data, keys.size, options_.bucket_count);
  visit<SharedLock>(batch, {}, [&](Bucket& bucket, std::uint32_t place, std::uint64_t, RowRef ref) {
    out[place] = ref == kNoRow ? 0 : clock_.to_count(bucket.header(ref).usage().frequency);
  });
}

void RowTable::usage(KeySpan keys, std::uint8_t* found, std::uint32_t* frequency, std::uint32_t* last_used) const {
  const Batch batch(keys.data, keys.size, options_.bucket_count);
  visit<SharedLock>(batch, {}, [&](Bucket& bucket, std::uint32_t place, std::uint64_t, RowRef ref) {
    const Usage usage = ref == kNoRow ? Usage{} : bucket.header(ref).usage();
    found[place] = ref == kNoRow ? 0 : 1;
    frequency[place] = clock_.to_count(usage.frequency);
    last_used[place] = usage.last_used;
  });
}

void RowTable::contains(KeySpan keys, std::uint8_t* found) const {
  const Batch batch(keys.data, keys.size, options_.bucket_count);
  visit<SharedLock>(batch, {0, false}, [&](Bucket&, std::uint32_t place, std::uint64_t, RowRef ref) {
    found[place] = ref != kNoRow ? 1 : 0;
  });
}

std::vector<std::uint32_t> RowTable::dirty_buckets() const {
  std::vector<std::uint32_t> dirty;
  for (std::uint32_t bucket = 0; bucket < options_.bucket_count; ++bucket) {
    const SharedLock lock(buckets_[bucket].mutex());
    if (buckets_[bucket].dirty_keys() > 0) {
      dirty.push_back(bucket);
    }
  }
  return dirty;
}

std::uint64_t RowTable::dirty_rows() const {
  std::uint64_t rows = 0;
  for (std::uint32_t bucket = 0; bucket < options_.bucket_count; ++bucket) {
    const SharedLock lock(buckets_[bucket].mutex());
    rows += buckets_[bucket].dirty_keys();
  }
  return rows;
}

// The list of dirty keys may name a key more than once and after it was removed or written; the table as it is now
// decides what each key means: a dirty row is packed, a clean row was packed already, no row means removed.
DirtyRows RowTable::take_dirty(std::uint32_t bucket_number, std::size_t max_rows) {
  check_bucket(bucket_number);
  Bucket& bucket = buckets_[bucket_number];
  const std::size_t row_bytes = packed_row_bytes();
  DirtyRows dirty;
  const UniqueLock lock(bucket.mutex());
  while (bucket.dirty_keys() > 0 && dirty.keys.size() + dirty.removed_keys.size() < max_rows) {
    const std::vector<std::int64_t> keys =
        bucket.take_dirty_keys(max_rows - dirty.keys.size() - dirty.removed_keys.size());
    dirty.packed.resize((dirty.keys.size() + keys.size()) * row_bytes);
    for (const std::int64_t key : keys) {
      const RowRef ref = bucket.find(hash_key(key));
      if (ref == kNoRow) {
        dirty.removed_keys.push_back(key);
        continue;
      }
      RowHeader& header = bucket.header(ref);
      if (header.dirty()) {
        pack_row(layout_, header, bucket.row(ref), dirty.packed.data() + dirty.keys.size() * row_bytes);
        header.position_and_flags &= ~RowHeader::kDirty;
        dirty.keys.push_back(key);
      }
    }
  }
  dirty.packed.resize(dirty.keys.size() * row_bytes);
  std::sort(dirty.removed_keys.begin(), dirty.removed_keys.end());
  dirty.removed_keys.erase(std::unique(dirty.removed_keys.begin(), dirty.removed_keys.end()), dirty.removed_keys.end());
  return dirty;
}

void RowTable::mark_dirty(std::uint32_t bucket_number, KeySpan keys) {
  check_bucket(bucket_number);
  Bucket& bucket = buckets_[bucket_number];
  const UniqueLock lock(bucket.mutex());
  for (std::size_t i = 0; i < keys.size; ++i) {
    const std::uint64_t hash = hash_key(keys.data[i]);
    if (bucket_of_hash(hash, options_.bucket_count) != bucket_number) {
      continue;  // Not this bucket's key, so this bucket has nothing to write for it.
    }
    const RowRef ref = bucket.find(hash);
    if (ref == kNoRow) {
      bucket.remember_dirty(keys.data[i]);
    } else {
      bucket.mark_dirty(bucket.header(ref));
    }
  }
}

std::vector<std::int64_t> RowTable::take_dirty_keys(std::uint32_t bucket_number) {
  check_bucket(bucket_number);
  Bucket& bucket = buckets_[bucket_number];
  std::vector<std::int64_t> keys;
  {
    const UniqueLock lock(bucket.mutex());
    keys = bucket.take_dirty_keys(bucket.dirty_keys());
    for (const std::int64_t key : keys) {
      const RowRef ref = bucket.find(hash_key(key));
      if (ref != kNoRow) {
        bucket.header(ref).position_and_flags &= ~RowHeader::kDirty;
      }
    }
  }
  std::sort(keys.begin(), keys.end());
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  return keys;
}

PackedRows RowTable::pack_bucket(std::uint32_t bucket_number) const {
  check_bucket(bucket_number);
  const Bucket& bucket = buckets_[bucket_number];
  const std::size_t row_bytes = packed_row_bytes();
  PackedRows rows;
  const SharedLock lock(bucket.mutex());
  rows.keys.reserve(bucket.size());
  rows.packed.resize(bucket.size() * row_bytes);
  char* out = rows.packed.data();
  bucket.for_each_row([&](RowRef ref, const RowHeader& header) {
    rows.keys.push_back(header.key());
    pack_row(layout_, header, bucket.row(ref), out);
    out += row_bytes;
  });
  return rows;
}

PackedRows RowTable::pack_rows(KeySpan keys) const {
  const Batch batch(keys.data, keys.size, options_.bucket_count);
  const std::size_t row_bytes = packed_row_bytes();
  PackedRows rows;
  visit<SharedLock>(batch, {layout_.stride}, [&](Bucket& bucket, std::uint32_t place, std::uint64_t, RowRef ref) {
    if (ref != kNoRow) {
      rows.keys.push_back(keys.data[place]);
      rows.packed.resize(rows.keys.size() * row_bytes);
      pack_row(layout_, bucket.header(ref), bucket.row(ref), rows.packed.data() + rows.packed.size() - row_bytes);
    }
  });
  return rows;
}

LoadedRows RowTable::load_bucket(std::uint32_t bucket_number, KeySpan keys, const char* packed) {
  const std::size_t row_bytes = packed_row_bytes();
  std::vector<FiledRow> rows(keys.size);
  for (std::size_t i = 0; i < keys.size; ++i) {
    rows[i] = {keys.data[i], packed + i * row_bytes};
  }
  return load_rows(bucket_number, rows.data(), rows.size());
}

std::uint64_t RowTable::add_packed(KeySpan keys, const char* packed, std::uint64_t position) {
  const Batch batch(keys.data, keys.size, options_.bucket_count);
  const std::size_t row_bytes = packed_row_bytes();
  std::uint64_t added = 0;
  visit<UniqueLock>(batch, {}, [&](Bucket& bucket, std::uint32_t place, std::uint64_t hash, RowRef ref) {
    const char* source = packed + place * row_bytes;
    if (ref != kNoRow || !packed_row_intact(layout_, keys.data[place], source)) {
      return;
    }
    ref = bucket.insert(hash);
    RowHeader& header = bucket.header(ref);
    unpack_row(layout_, source, header, bucket.row(ref));
    header.advance_position(position);
    bucket.mark_dirty(header);
    ++added;
  });
  rows_.fetch_add(static_cast<std::int64_t>(added), std::memory_order_relaxed);
  counters_.inserted.fetch_add(added, std::memory_order_relaxed);
  return added;
}

LoadedRows RowTable::load_rows(std::uint32_t bucket_number, const FiledRow* rows, std::size_t count) {
  check_bucket(bucket_number);
  Bucket& bucket = buckets_[bucket_number];
  LoadedRows result;
  std::int64_t inserted = 0;
  {
    const UniqueLock lock(bucket.mutex());
    bucket.reserve(bucket.size() + count);
    for (std::size_t i = 0; i < count; ++i) {
      const auto [key, source] = rows[i];
      const std::uint64_t hash = hash_key(key);
      if (bucket_of_hash(hash, options_.bucket_count) != bucket_number || !packed_row_intact(layout_, key, source)) {
        result.corrupt_keys.push_back(key);
        continue;
      }
      RowRef ref = bucket.find(hash);
      if (ref == kNoRow) {
        ref = bucket.insert(hash);
        ++inserted;
      }
      unpack_row(layout_, source, bucket.header(ref), bucket.row(ref));
      ++result.loaded;
    }
  }
  rows_.fetch_add(inserted, std::memory_order_relaxed);
  return result;
}

}  // namespace rowbank
