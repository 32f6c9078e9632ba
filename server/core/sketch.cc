#include "sketch.h"

#include <algorithm>
#include <bit>
#include <initializer_list>

namespace rowbank {

AdmissionSketch::AdmissionSketch(std::size_t window)
    : window_(std::bit_ceil(std::max<std::size_t>(window, 64))),
      width_(window_ * kWidthPerWindow),
      counters_(std::make_unique<std::uint8_t[]>(kRows * width_)) {}

std::uint32_t AdmissionSketch::add(std::uint64_t hash, std::uint32_t occurrences) {
  if (added_ >= window_) {
    halve();
  }
  const std::uint32_t estimate = std::min(kMaxCount, this->estimate(hash) + std::min(occurrences, kMaxCount));
  for (std::size_t row = 0; row < kRows; ++row) {
    std::uint8_t& own = counter(hash, row);
    own = static_cast<std::uint8_t>(std::max<std::uint32_t>(own, estimate));
  }
  added_ += std::min(occurrences, kMaxCount);
  return estimate;
}

std::uint32_t AdmissionSketch::estimate(std::uint64_t hash) const {
  std::uint32_t lowest = kMaxCount;
  for (std::size_t row = 0; row < kRows; ++row) {
    lowest = std::min<std::uint32_t>(lowest, counter(hash, row));
  }
  return lowest;
}

void AdmissionSketch::halve() {
  for (std::size_t i = 0; i < kRows * width_; ++i) {
    counters_[i] = static_cast<std::uint8_t>(counters_[i] >> 1);
  }
  added_ = 0;
}

RecentlyEvicted::RecentlyEvicted(std::size_t places)
    : places_(std::bit_ceil(std::max<std::size_t>(places, 64))), table_(std::make_unique<Place[]>(places_)) {}

void RecentlyEvicted::note(std::uint64_t hash, std::uint32_t now) {
  const Print key = print(hash);
  Place& first = table_[key.first];
  Place& second = table_[key.second];
  Place& older = first.evicted_at <= second.evicted_at ? first : second;
  older = {key.fingerprint, std::max<std::uint32_t>(now, 1)};
}

bool RecentlyEvicted::take(std::uint64_t hash, std::uint32_t now, std::uint32_t window_s) {
  const Print key = print(hash);
  for (const std::size_t at : {key.first, key.second}) {
    Place* place = &table_[at];
    if (place->evicted_at != 0 && place->fingerprint == key.fingerprint) {
      const bool recent = now <= place->evicted_at || now - place->evicted_at <= window_s;
      *place = {};
      return recent;
    }
  }
  return false;
}

}  // namespace rowbank
