#include "journal_queue.h"

#include <algorithm>

#include "clock.h"

namespace rowbank {
namespace {

constexpr std::size_t kMaxGroupBytes = std::size_t{4} << 20;
constexpr double kFilling = 0.625;  // Of what the stream may hold.
constexpr double kCrowded = 0.8;    // The same.
constexpr double kNsPerS = 1e9;

}  // namespace

JournalQueue::JournalQueue(DedupWindow* window, JournalLimits limits)
    : limits_(limits), window_(window), release_(limits.max_released_bytes) {}

void JournalQueue::reopened(std::uint64_t position) {
  const std::lock_guard<std::mutex> locked(mutex_);
  last_ = std::max(last_.load(), position);
  stored_.restart(last_);
  stored_bytes_ = 0;
  missing_ = false;
  ++stream_;
  work_.notify_all();
}

void JournalQueue::fence() {
  const std::lock_guard<std::mutex> locked(mutex_);
  fenced_ = true;
  queue_.clear();
  release_.close(last_);
  wake_waiting();
  work_.notify_all();
  progress_.notify_all();
}

void JournalQueue::stop() {
  const std::lock_guard<std::mutex> locked(mutex_);
  stopping_ = true;
  work_.notify_all();
}

bool JournalQueue::may_begin() const {
  if (fenced_ || failing_ || pending_bytes_ > limits_.max_pending_bytes || crowding() > 0) {
    return false;
  }
  const std::int64_t oldest = oldest_ns_;
  return oldest == 0 || static_cast<double>(steady_ns() - oldest) <= limits_.wait_s * kNsPerS;
}

JournalQueue::Entry JournalQueue::begin(bool synced, bool appended) {
  const std::lock_guard<std::mutex> locked(mutex_);
  const Entry entry = std::make_shared<JournalEntry>(last_ + 1, synced, appended);
  open_.emplace(entry->position, entry);
  if (appended) {
    unappended_.emplace(entry->position, entry);
    note_oldest();
  }
  release_.add(entry);
  last_ = entry->position;
  return entry;
}

void JournalQueue::submit(const Entry& entry, std::string head, KeptBytes body, std::string answer,
                          std::shared_ptr<UnderWay> under_way) {
  const std::lock_guard<std::mutex> locked(mutex_);
  entry->size = head.size() + body.size;
  entry->head = std::move(head);
  entry->body = std::move(body);
  entry->has_record = true;
  entry->answer = std::move(answer);
  entry->under_way = std::move(under_way);
  if (!entry->appended) {
    release_.keep(entry.get());
    return;
  }
  if (!fenced_) {
    queue_.push_back(entry);
    work_.notify_one();
  }
  pending_bytes_ += entry->size;
}

void JournalQueue::abandon(const Entry& entry) {
  const std::lock_guard<std::mutex> locked(mutex_);
  open_.erase(entry->position);
  unappended_.erase(entry->position);
  note_oldest();
  release_.abandon(entry.get());
  progress_.notify_all();
}

void JournalQueue::applied(const Entry& entry, double took_s) {
  {
    const std::lock_guard<std::mutex> locked(mutex_);
    if (entry->appended && took_s > 0) {
      rate_.learn(entry->size, took_s);
    }
    --entry->owed;
    release_.advance();
  }
  finish(entry);
}

bool JournalQueue::wait(const Entry& entry, double timeout_s) {
  std::unique_lock<std::mutex> locked(mutex_);
  entry->changed.wait_until(locked, deadline_in(timeout_s), [&] { return entry->woken; });
  return entry->done;
}

JournalGroup JournalQueue::take_group(std::optional<std::uint64_t> of) {
  JournalGroup group;
  std::unique_lock<std::mutex> locked(mutex_);
  const auto is_other = [&] { return of && *of != stream_; };
  work_.wait(locked, [&] { return stopping_ || fenced_ || !queue_.empty() || is_other(); });
  if (fenced_ || queue_.empty() || is_other()) {
    return group;
  }
  while (!queue_.empty() && (group.entries.empty() || group.bytes + queue_.front()->size <= kMaxGroupBytes)) {
    group.bytes += queue_.front()->size;
    group.entries.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  group.number = ++group_;
  return group;
}

void JournalQueue::pause(double seconds, std::uint64_t of) {
  std::unique_lock<std::mutex> locked(mutex_);
  work_.wait_until(locked, deadline_in(seconds), [&] { return stopping_ || fenced_ || stream_ != of; });
}

bool JournalQueue::landed(const JournalGroup& group, std::uint64_t of) {
  std::uint64_t highest = 0;
  {
    const std::lock_guard<std::mutex> locked(mutex_);
    if (of != stream_) {
      return false;
    }
    for (const Entry& entry : group.entries) {
      highest = std::max(highest, entry->position);
      unappended_.erase(entry->position);
      --entry->owed;
    }
    note_oldest();
    release_.advance();
    pending_bytes_ -= group.bytes;
    stored_.add(group.number, highest, group.bytes, group.entries.size());
    stored_bytes_ = stored_.bytes();
    appended_records_ += group.entries.size();
    ++appended_groups_;
    failure_.clear();
    failing_ = false;
    progress_.notify_all();
  }
  for (const Entry& entry : group.entries) {
    if (!entry->synced) {
      finish(entry);
    }
  }
  return true;
}

bool JournalQueue::failed(std::string why, bool missing) {
  const std::lock_guard<std::mutex> locked(mutex_);
  const bool first = !failing_;
  failure_ = std::move(why);
  failing_ = true;
  missing_ = missing;
  wake_waiting();
  progress_.notify_all();
  return first;
}

void JournalQueue::finish(const Entry& entry) {
  {
    const std::lock_guard<std::mutex> locked(mutex_);
    if (--entry->halves > 0) {
      return;
    }
  }
  if (entry->under_way != nullptr) {
    window_->complete(*entry->under_way, entry->answer);
  }
  const std::lock_guard<std::mutex> locked(mutex_);
  open_.erase(entry->position);
  entry->done = entry->woken = true;
  entry->changed.notify_all();
}

void JournalQueue::note_oldest() {
  oldest_ns_ = unappended_.empty() ? 0 : unappended_.begin()->second->begun_ns;
}

void JournalQueue::wake_waiting() {
  for (const auto& [position, entry] : unappended_) {
    entry->woken = true;
    entry->changed.notify_all();
  }
}

Waited JournalQueue::wait_appended(std::uint64_t position, double timeout_s) {
  const auto deadline = deadline_in(timeout_s);
  std::unique_lock<std::mutex> locked(mutex_);
  while (!unappended_.empty() && unappended_.begin()->first <= position) {
    if (fenced_) {
      return Waited::kFenced;
    }
    if (failing_) {
      return Waited::kFailed;
    }
    if (progress_.wait_until(locked, deadline) == std::cv_status::timeout) {
      return Waited::kTooLong;
    }
  }
  return Waited::kYes;
}

std::uint64_t JournalQueue::done_through() const {
  const std::lock_guard<std::mutex> locked(mutex_);
  return open_.empty() ? last_.load() : open_.begin()->first - 1;
}

std::uint64_t JournalQueue::released_through() const {
  const std::lock_guard<std::mutex> locked(mutex_);
  return release_.through(last_);
}

std::int64_t JournalQueue::released_until() const {
  const std::int64_t now = steady_ns();
  const std::lock_guard<std::mutex> locked(mutex_);
  return std::min(now, release_.waiting_since().value_or(now));
}

double JournalQueue::lag_s() const {
  const std::int64_t oldest = oldest_ns_;
  return oldest == 0 ? 0.0 : static_cast<double>(steady_ns() - oldest) / kNsPerS;
}

std::string JournalQueue::failure() const {
  const std::lock_guard<std::mutex> locked(mutex_);
  return failure_;
}

bool JournalQueue::has_unappended() const {
  const std::lock_guard<std::mutex> locked(mutex_);
  return !unappended_.empty();
}

JournalQueue::Stored JournalQueue::stored() const {
  const std::lock_guard<std::mutex> locked(mutex_);
  return {stored_.bytes(), stored_.records(), stored_.gone_through(),
          rate_.seconds(stored_.records(), stored_.bytes())};
}

bool JournalQueue::filling() const {
  return static_cast<double>(stored_bytes_) > kFilling * static_cast<double>(limits_.max_bytes);
}

double JournalQueue::crowding() const {
  const auto most = static_cast<double>(limits_.max_bytes);
  return (static_cast<double>(stored_bytes_) / most - kCrowded) / (1 - kCrowded);
}

bool JournalQueue::has_done(std::uint64_t position) const {
  const std::lock_guard<std::mutex> locked(mutex_);
  return stored_.has_done(position);
}

std::uint64_t JournalQueue::passed(std::uint64_t position, std::uint64_t most_bytes) const {
  const std::lock_guard<std::mutex> locked(mutex_);
  return stored_.passed(position, most_bytes);
}

bool JournalQueue::forget(std::uint64_t number) {
  const std::lock_guard<std::mutex> locked(mutex_);
  stored_.forget(number);
  stored_bytes_ = stored_.bytes();
  return stored_.empty();
}

std::optional<std::uint64_t> JournalQueue::first_after(std::uint64_t position) const {
  const std::lock_guard<std::mutex> locked(mutex_);
  return stored_.first_after(position);
}

std::uint64_t JournalQueue::keep_records(bool on) {
  const std::lock_guard<std::mutex> locked(mutex_);
  keeps_records_ = on;
  return release_.keep_records(on);
}

std::pair<std::vector<Released>, std::uint64_t> JournalQueue::take_released() {
  const std::lock_guard<std::mutex> locked(mutex_);
  return release_.take();
}

std::size_t JournalQueue::unreleased() const {
  const std::lock_guard<std::mutex> locked(mutex_);
  return release_.waiting();
}

}  // namespace rowbank
