#include <algorithm>
#include <stdexcept>

#include "row_table.h"
#include "sampling.h"
#include "table_visit.h"

namespace rowbank {

void RowTable::write_values(char* row, ValuesIn in, std::size_t place, float* scratch) {
  const char* source = static_cast<const char*>(in.data) + place * layout_.dim * dtype_bytes(in.type);
  convert(in.type, source, layout_.type, row, layout_.dim, scratch);
}

void RowTable::fill_initial(char* row, std::uint64_t hash, float* scratch) {
  initializer_.fill(salt_, hash, scratch, layout_.dim);
  from_float(layout_.type, scratch, row, layout_.dim);
}

// What the writing operations share: adding a row, and noting a change on it.
struct RowTable::RowWriter {
  RowTable& table;
  const Optimizer& optimizer;
  std::uint32_t now;
  std::uint64_t position;
  std::uint64_t inserted = 0;

  // A new row with initial slots, frequency 0 and unspecified values.
  RowRef add(Bucket& bucket, std::uint64_t hash) {
    const RowRef ref = bucket.insert(hash);
    optimizer.fill_initial_slots(table.layout_.slots(bucket.row(ref)), table.layout_.dim);
    ++inserted;
    return ref;
  }

  void changed(Bucket& bucket, RowRef ref, std::uint32_t occurrences) const {
    RowHeader& header = bucket.header(ref);
    header.set_usage(table.clock_.used(header.usage(), occurrences, now));
    header.advance_position(position);
    bucket.mark_dirty(header);
  }

  ~RowWriter() {
    table.rows_.fetch_add(static_cast<std::int64_t>(inserted), std::memory_order_relaxed);
    table.counters_.inserted.fetch_add(inserted, std::memory_order_relaxed);
  }
};

namespace {

// The summed and clipped gradient of one distinct key. Points into the request when nothing has to be changed.
class GradientSum {
 public:
  GradientSum(const Distinct& distinct, ValuesIn gradients, const UpdatePlan& plan, std::size_t dim, float* scratch)
      : distinct_(distinct), gradients_(gradients), plan_(plan), dim_(dim), sum_(scratch), term_(scratch + dim) {}

  const float* of(std::uint32_t which) {
    const std::uint32_t first = distinct_.first(which);
    const bool clipped = plan_.clip_value > 0 || plan_.max_norm > 0;
    if (gradients_.type == DType::kFloat32 && !clipped && distinct_.next(first) == Distinct::kEnd) {
      return static_cast<const float*>(gradients_.data) + first * dim_;
    }
    load(first, sum_);
    add_from(distinct_.next(first), sum_);
    clip_gradient(plan_, sum_, dim_);
    return sum_;
  }

  // Adds the key's gradients to `total`, unclipped.
  void add_to(std::uint32_t which, float* total) { add_from(distinct_.first(which), total); }

 private:
  void add_from(std::uint32_t place, float* total) {
    for (std::uint32_t at = place; at != Distinct::kEnd; at = distinct_.next(at)) {
      load(at, term_);
      kernels().add(total, term_, dim_);
    }
  }

  void load(std::uint32_t place, float* out) const {
    const char* source = static_cast<const char*>(gradients_.data) + place * dim_ * dtype_bytes(gradients_.type);
    to_float(gradients_.type, source, out, dim_);
  }

  const Distinct& distinct_;
  const ValuesIn gradients_;
  const UpdatePlan& plan_;
  const std::size_t dim_;
  float* const sum_;
  float* const term_;
};

std::uint32_t occurrences_of(const Distinct& distinct, std::uint32_t which, const std::uint32_t* counts) {
  std::uint64_t sum = 0;
  for (std::uint32_t at = distinct.first(which); at != Distinct::kEnd; at = distinct.next(at)) {
    sum += counts == nullptr ? 1 : counts[at];
  }
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(sum, 0xFFFFFFFFU));
}

}  // namespace

// An absent key is first counted. While it is not admitted, its gradients go to the common row: summed over all such
// keys of the push and applied once, as if they were one key. On admission its frequency starts at the count.
PushCounts RowTable::push(KeySpan keys, ValuesIn gradients, const std::uint32_t* counts, const PushRequest& request) {
  const std::shared_ptr<const Optimizer> optimizer = this->optimizer();
  const UpdatePlan plan = optimizer->plan(request.step, request.overrides);
  const Distinct distinct(keys.data, keys.size);
  const Batch batch(distinct.keys(), distinct.size(), options_.bucket_count);
  const std::uint32_t min_count =
      request.admission == Admission::kByCount ? min_count_.load(std::memory_order_relaxed) : 1;
  float* scratch = thread_scratch(4 * layout_.dim);
  float* values = scratch + 2 * layout_.dim;
  float* common = scratch + 3 * layout_.dim;
  std::fill_n(common, layout_.dim, 0.0F);
  GradientSum gradient(distinct, gradients, plan, layout_.dim, scratch);
  RowWriter writer{*this, *optimizer, request.now, request.position};
  PushCounts result{distinct.size(), 0, 0};
  std::uint64_t regretted = 0;
  const auto admit = [&](Bucket& bucket, std::uint32_t which, std::uint64_t hash, std::uint32_t occurrences) {
    regretted += bucket.take_regret(hash, request.now, options_.regret_window_s) ? 1 : 0;
    std::uint32_t seen_before = 0;
    if (min_count > 1) {
      const std::uint32_t seen =
          bucket.count_absent(hash, occurrences, options_.admission_window / options_.bucket_count);
      if (seen < min_count) {
        gradient.add_to(which, common);
        ++result.not_admitted;
        return kNoRow;
      }
      seen_before = seen > occurrences ? seen - occurrences : 0;
    }
    const RowRef ref = writer.add(bucket, hash);
    bucket.header(ref).set_usage({clock_.from_count(seen_before), request.now});
    fill_initial(bucket.row(ref), hash, values);
    return ref;
  };
  const bool live = request.admission == Admission::kByCount;  // Else it is a repeat of what somebody saw before.
  Sampling sampling(access_sample_, true, request.now);
  const Given given{gradients.data, layout_.dim * dtype_bytes(gradients.type), &distinct};
  const Touched touched{layout_.stride, true, given};
  visit<UniqueLock>(batch, touched, [&](Bucket& bucket, std::uint32_t which, std::uint64_t hash, RowRef ref) {
    if (request.admission == Admission::kCommon) {
      gradient.add_to(which, common);
      ++result.not_admitted;
      return;
    }
    const std::uint32_t occurrences = occurrences_of(distinct, which, counts);
    if (live && sampling.wants(hash)) [[unlikely]] {
      sampling.see(hash, ref != kNoRow ? &bucket.header(ref) : nullptr, occurrences);
    }
    ref = ref != kNoRow ? ref : admit(bucket, which, hash, occurrences);
    if (ref == kNoRow) {
      return;
    }
    char* row = bucket.row(ref);
    if (layout_.type == DType::kFloat32) {
      auto* stored = reinterpret_cast<float*>(row);
      plan.update(plan.params, stored, layout_.slots(row), gradient.of(which), layout_.dim);
    } else {
      to_float(layout_.type, row, values, layout_.dim);
      plan.update(plan.params, values, layout_.slots(row), gradient.of(which), layout_.dim);
      from_float(layout_.type, values, row, layout_.dim);
    }
    writer.changed(bucket, ref, occurrences);
  });
  if (result.not_admitted > 0) {
    common_row_.apply(plan, common);
  }
  if (live) {
    sampling.end(distinct.size(), size());
  }
  result.inserted = writer.inserted;
  counters_.pushed.fetch_add(result.distinct, std::memory_order_relaxed);
  counters_.not_admitted.fetch_add(result.not_admitted, std::memory_order_relaxed);
  counters_.regretted.fetch_add(regretted, std::memory_order_relaxed);
  return result;
}

std::uint64_t RowTable::upsert(KeySpan keys, ValuesIn values, std::uint32_t now, std::uint64_t position, bool touch) {
  const std::shared_ptr<const Optimizer> optimizer = this->optimizer();
  const Batch batch(keys.data, keys.size, options_.bucket_count);
  float* scratch = thread_scratch(layout_.dim);
  RowWriter writer{*this, *optimizer, now, position};
  visit<UniqueLock>(batch, {layout_.value_bytes},
                    [&](Bucket& bucket, std::uint32_t place, std::uint64_t hash, RowRef ref) {
                      ref = ref != kNoRow ? ref : writer.add(bucket, hash);
                      write_values(bucket.row(ref), values, place, scratch);
                      writer.changed(bucket, ref, touch ? 1 : 0);
                    });
  return writer.inserted;
}

std::uint64_t RowTable::accumulate(KeySpan keys, ValuesIn deltas, const std::uint8_t* exists, std::uint32_t now,
                                   std::uint64_t position, bool touch) {
  const std::shared_ptr<const Optimizer> optimizer = this->optimizer();
  const Batch batch(keys.data, keys.size, options_.bucket_count);
  float* values = thread_scratch(2 * layout_.dim);
  float* delta = values + layout_.dim;
  const std::size_t delta_bytes = layout_.dim * dtype_bytes(deltas.type);
  RowWriter writer{*this, *optimizer, now, position};
  std::uint64_t applied = 0;
  visit<UniqueLock>(
      batch, {layout_.value_bytes}, [&](Bucket& bucket, std::uint32_t place, std::uint64_t hash, RowRef ref) {
        const bool present = ref != kNoRow;
        if (present != (exists[place] != 0)) {
          if (present && touch) {
            writer.changed(bucket, ref, 1);
          }
          return;
        }
        ref = present ? ref : writer.add(bucket, hash);
        char* row = bucket.row(ref);
        if (present) {
          to_float(layout_.type, row, values, layout_.dim);
          to_float(deltas.type, static_cast<const char*>(deltas.data) + place * delta_bytes, delta, layout_.dim);
          kernels().add(values, delta, layout_.dim);
          from_float(layout_.type, values, row, layout_.dim);
        } else {
          write_values(row, deltas, place, values);
        }
        writer.changed(bucket, ref, touch ? 1 : 0);
        ++applied;
      });
  return applied;
}

std::uint64_t RowTable::touch(KeySpan keys, const std::uint32_t* counts, std::uint32_t now, std::uint64_t position) {
  const Batch batch(keys.data, keys.size, options_.bucket_count);
  std::uint64_t touched = 0;
  visit<UniqueLock>(batch, {}, [&](Bucket& bucket, std::uint32_t place, std::uint64_t, RowRef ref) {
    if (ref != kNoRow) {
      RowHeader& header = bucket.header(ref);
      header.set_usage(clock_.used(header.usage(), counts == nullptr ? 1 : counts[place], now));
      header.advance_position(position);
      bucket.mark_dirty(header);
      ++touched;
    }
  });
  return touched;
}

std::uint64_t RowTable::remove(KeySpan keys) {
  const Batch batch(keys.data, keys.size, options_.bucket_count);
  std::uint64_t removed = 0;
  visit<UniqueLock>(batch, {}, [&](Bucket& bucket, std::uint32_t, std::uint64_t hash, RowRef ref) {
    if (ref != kNoRow && bucket.find(hash) != kNoRow) {  // Not there any more: the key was given twice.
      bucket.erase(ref);
      ++removed;
    }
  });
  rows_.fetch_sub(static_cast<std::int64_t>(removed), std::memory_order_relaxed);
  counters_.removed.fetch_add(removed, std::memory_order_relaxed);
  for (std::uint32_t bucket = 0; bucket < options_.bucket_count && removed > 0; ++bucket) {
    const UniqueLock lock(buckets_[bucket].mutex());
    buckets_[bucket].compact_if_sparse();
  }
  return removed;
}

std::uint64_t RowTable::import_rows(KeySpan keys, const ImportColumns& columns, std::uint32_t now,
                                    std::uint64_t position) {
  const std::shared_ptr<const Optimizer> optimizer = this->optimizer();
  const Batch batch(keys.data, keys.size, options_.bucket_count);
  RowWriter writer{*this, *optimizer, now, position};
  visit<UniqueLock>(batch, {layout_.stride}, [&](Bucket& bucket, std::uint32_t place, std::uint64_t hash, RowRef ref) {
    ref = ref != kNoRow ? ref : writer.add(bucket, hash);
    RowHeader& header = bucket.header(ref);
    char* row = bucket.row(ref);
    from_float(layout_.type, columns.values + place * layout_.dim, row, layout_.dim);
    if (columns.slots != nullptr) {
      std::copy_n(columns.slots + place * layout_.slot_width, layout_.slot_width, layout_.slots(row));
    }
    Usage usage = header.usage();
    usage.frequency = columns.frequency != nullptr ? clock_.from_count(columns.frequency[place]) : usage.frequency;
    usage.last_used = columns.last_used != nullptr ? columns.last_used[place] : now;
    header.set_usage(usage);
    header.advance_position(position);
    bucket.mark_dirty(header);
  });
  return writer.inserted;
}

std::uint64_t RowTable::clear() {
  std::uint64_t removed = 0;
  for (std::uint32_t bucket = 0; bucket < options_.bucket_count; ++bucket) {
    const UniqueLock lock(buckets_[bucket].mutex());
    removed += buckets_[bucket].size();
    buckets_[bucket].clear();
  }
  common_row_.reset(initial_common_values(), *optimizer());
  rows_.fetch_sub(static_cast<std::int64_t>(removed), std::memory_order_relaxed);
  counters_.removed.fetch_add(removed, std::memory_order_relaxed);
  return removed;
}

}  // namespace rowbank
