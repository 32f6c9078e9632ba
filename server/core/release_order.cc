#include "release_order.h"

#include <algorithm>

namespace rowbank {

std::uint64_t ReleaseOrder::through(std::uint64_t last) const {
  if (closed_) {
    return closed_->first;
  }
  return waiting_.empty() ? last : waiting_.front()->position - 1;
}

std::optional<std::int64_t> ReleaseOrder::waiting_since() const {
  if (closed_) {
    return closed_->second;
  }
  return waiting_.empty() ? std::nullopt : std::optional(waiting_.front()->begun_ns);
}

void ReleaseOrder::add(Entry entry) {
  if (!closed_) {
    waiting_.push_back(std::move(entry));
  }
}

void ReleaseOrder::keep(JournalEntry* entry) {
  kept_bytes_ += entry->size;
  if (lost_ == 0 && kept_bytes_ <= max_bytes_) {
    return;
  }
  entry->drop_record();
  lost_ = std::max(lost_, entry->position);
  if (++unpruned_ == 1 || unpruned_ > kPrunedAt) {
    prune();
  }
}

void ReleaseOrder::abandon(JournalEntry* entry) {
  entry->owed = 0;
  entry->drop_record();
  advance();
}

void ReleaseOrder::advance() {
  while (!waiting_.empty() && waiting_.front()->owed == 0) {
    const Entry entry = std::move(waiting_.front());
    waiting_.pop_front();
    if (!entry->has_record) {
      continue;
    }
    if (!entry->appended) {
      kept_bytes_ -= std::min(kept_bytes_, entry->size);
    }
    released_ = entry->position;
    if (keeps_records_) {
      records_.push_back({entry->position, false, std::move(entry->head), std::move(entry->body), entry->begun_ns});
    }
    entry->drop_record();
  }
  if (lost_ != 0 && (waiting_.empty() || waiting_.front()->position > lost_)) {
    released_ = std::max(released_, lost_);
    records_.push_back({lost_, true, {}, {}, 0});
    lost_ = unpruned_ = kept_bytes_ = 0;
  }
}

void ReleaseOrder::close(std::uint64_t last) {
  if (!closed_) {
    closed_ = {through(last), waiting_since().value_or(steady_ns())};
    waiting_.clear();
  }
}

std::uint64_t ReleaseOrder::keep_records(bool on) {
  keeps_records_ = on;
  return released_;
}

std::pair<std::vector<Released>, std::uint64_t> ReleaseOrder::take() {
  std::vector<Released> taken;
  taken.swap(records_);
  return {std::move(taken), released_};
}

void ReleaseOrder::prune() {
  unpruned_ = 1;
  waiting_.erase(std::remove_if(waiting_.begin(), waiting_.end(),
                                [](const Entry& entry) { return !entry->appended && entry->owed == 0; }),
                 waiting_.end());
}

}  // namespace rowbank
