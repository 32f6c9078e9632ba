#include "intake.h"

#include <algorithm>
#include <utility>

namespace rowbank::wire {
namespace {

constexpr std::int64_t kQuickNs = 250'000'000;  // What takes longer to arrive gives way to others.

}  // namespace

std::string_view place_of(const std::string& peer) {
  const std::string_view whole(peer);
  const std::size_t kind = whole.find(':');
  const std::size_t port = whole.rfind(':');
  if (kind == std::string_view::npos || kind == port) {
    return whole;
  }
  const std::string_view host = whole.substr(kind + 1, port - kind - 1);
  return host.substr(0, 4) == "127." || host == "%5B::1%5D" ? whole : host;
}

std::uint64_t Intake::begin(const std::string& peer, std::weak_ptr<Connection> connection, std::int32_t stream,
                            std::int64_t now_ns) {
  std::string place(place_of(peer));
  const std::lock_guard<std::mutex> locked(mutex_);
  const auto found = places_.find(place);
  if ((found == places_.end() ? 0 : found->second) >= most_a_place_ || !make_room(place, now_ns)) {
    return 0;
  }
  const auto added = arriving_.emplace(last_ + 1, Arriving{place, now_ns, std::move(connection), stream}).first;
  try {
    ++places_[std::move(place)];
  } catch (...) {
    arriving_.erase(added);
    throw;
  }
  return ++last_;
}

bool Intake::make_room(const std::string& place, std::int64_t now_ns) {
  if (arriving_.size() < most_) {
    return true;
  }
  if (arriving_.empty()) {
    return false;
  }
  auto leaving = arriving_.begin();
  if (now_ns - leaving->second.began_ns < kQuickNs) {
    const auto heaviest = std::max_element(
        places_.begin(), places_.end(), [](const auto& one, const auto& other) { return one.second < other.second; });
    const auto mine = places_.find(place);
    if ((mine == places_.end() ? 0 : mine->second) + 1 >= heaviest->second) {
      return false;
    }
    leaving = std::find_if(arriving_.begin(), arriving_.end(),
                           [&](const auto& one) { return one.second.place == heaviest->first; });
  }
  displaced_.push_back({leaving->second.connection, leaving->second.stream, leaving->first});
  leave(leaving->second.place);
  arriving_.erase(leaving);
  return true;
}

void Intake::end(std::uint64_t id, bool whole) {
  const std::lock_guard<std::mutex> locked(mutex_);
  working_ += whole ? 1 : 0;
  const auto found = arriving_.find(id);
  if (found != arriving_.end()) {  // Else it gave way.
    leave(found->second.place);
    arriving_.erase(found);
  }
}

void Intake::leave(const std::string& place) {
  const auto found = places_.find(place);
  if (--found->second == 0) {
    places_.erase(found);
  }
}

void Intake::worked() {
  const std::lock_guard<std::mutex> locked(mutex_);
  --working_;
}

std::size_t Intake::unfinished() const {
  const std::lock_guard<std::mutex> locked(mutex_);
  return arriving_.size() + working_;
}

std::vector<Intake::Displaced> Intake::take_displaced() {
  const std::lock_guard<std::mutex> locked(mutex_);
  return std::exchange(displaced_, {});
}

}  // namespace rowbank::wire
