#include "access_sample.h"

#include <algorithm>
#include <utility>

namespace rowbank {

void AccessSample::Picture::keep_below(std::uint32_t lower) {
  std::size_t kept = 0;
  auto mark = marks.begin();
  for (std::size_t place = 0; place <= accesses.size(); ++place) {
    for (; mark != marks.end() && mark->place == place; ++mark) {
      mark->place = kept;
    }
    if (place < accesses.size() && choice(accesses[place].hash) < lower) {
      accesses[kept++] = accesses[place];
    }
  }
  accesses.resize(kept);
  threshold = std::min(threshold, lower);
}

void AccessSample::set_capacity(std::size_t accesses) {
  const std::lock_guard lock(mutex_);
  if (accesses == capacity_) {
    return;
  }
  Picture picture = unrolled();
  const std::size_t surplus = picture.accesses.size() - std::min(accesses, picture.accesses.size());
  picture.accesses.erase(picture.accesses.begin(), picture.accesses.begin() + static_cast<std::ptrdiff_t>(surplus));
  std::erase_if(picture.marks, [surplus](const Picture::Mark& mark) { return mark.place < surplus; });
  for (Picture::Mark& mark : picture.marks) {
    mark.place -= surplus;
  }
  if (capacity_ == 0) {
    threshold_ = consistent_ = kWhole;
  }
  capacity_ = accesses;
  if (accesses == 0) {
    threshold_ = consistent_ = 0;
  }
  roll(std::move(picture));
  ring_.shrink_to_fit();
}

AccessSample::Picture AccessSample::unrolled() const {
  Picture picture;
  picture.threshold = consistent_;
  picture.accesses.reserve(ring_.size());
  picture.accesses.insert(picture.accesses.end(), ring_.begin() + static_cast<std::ptrdiff_t>(first_), ring_.end());
  picture.accesses.insert(picture.accesses.end(), ring_.begin(), ring_.begin() + static_cast<std::ptrdiff_t>(first_));
  for (const Picture::Mark& mark : marks_) {
    if (mark.place >= dropped_) {
      picture.marks.push_back({mark.place - dropped_, mark.pulls, mark.pushes});
    }
  }
  return picture;
}

void AccessSample::roll(Picture&& picture) {
  ring_ = std::move(picture.accesses);
  marks_ = std::move(picture.marks);
  first_ = 0;
  dropped_ = 0;
}

AccessSample::Picture AccessSample::picture() const {
  Picture picture;
  {
    const std::lock_guard lock(mutex_);
    picture = unrolled();
    picture.marks.push_back({picture.accesses.size(), pulls_, pushes_});
  }
  picture.keep_below(picture.threshold);
  return picture;
}

void AccessSample::append(const Access& access) {
  if (ring_.size() < capacity_) {
    ring_.push_back(access);
    return;
  }
  ring_[first_] = access;
  first_ = first_ + 1 == ring_.size() ? 0 : first_ + 1;
  ++dropped_;
}

// REQUIRES: the ring is not empty.
void AccessSample::adapt(std::uint64_t rows) {
  const std::uint32_t threshold = threshold_;
  if (consistent_ != threshold) {
    return;
  }
  const std::uint32_t newest = ring_[first_ == 0 ? ring_.size() - 1 : first_ - 1].at;
  const std::uint64_t so_far_s = newest - std::min(newest, ring_[first_].at);
  const std::uint64_t span_s = so_far_s * capacity_ / ring_.size();  // Of a full ring.
  const bool enough_rows = rows * (threshold / 2) / kWhole >= kFewestRows;
  if (span_s < kHorizonS && threshold > 1 && enough_rows) {
    Picture picture = unrolled();
    picture.keep_below(threshold / 2);
    threshold_ = consistent_ = threshold / 2;
    roll(std::move(picture));
  } else if (ring_.size() >= capacity_ && span_s / 4 > kHorizonS && threshold < kWhole) {
    threshold_ = threshold * 2;
    consistent_after_ = capacity_;
  }
}

void AccessSample::add(const std::vector<Access>& chosen, std::size_t keys, bool push, std::uint64_t rows) {
  const std::lock_guard lock(mutex_);
  if (capacity_ == 0) {
    return;
  }
  const std::size_t end = dropped_ + ring_.size();
  if (marks_.empty() || end - marks_.back().place >= std::max<std::size_t>(1, capacity_ / kMarks)) {
    if (marks_.size() > 2 * kMarks) {
      std::erase_if(marks_, [this](const Picture::Mark& mark) { return mark.place < dropped_; });
    }
    marks_.push_back({end, pulls_, pushes_});
  }
  (push ? pushes_ : pulls_) += keys;
  for (const Access& access : chosen) {
    if (choice(access.hash) >= threshold_) {
      continue;  // Since it was chosen, the sample took in fewer keys.
    }
    if (ring_.size() >= std::max<std::size_t>(1, capacity_ / kFirstLook)) {
      adapt(rows);
    }
    append(access);
  }
  if (consistent_ != threshold_) {
    consistent_after_ -= std::min<std::uint64_t>(consistent_after_, chosen.size());
    consistent_ = consistent_after_ == 0 ? threshold_.load() : consistent_;
  }
}

}  // namespace rowbank
