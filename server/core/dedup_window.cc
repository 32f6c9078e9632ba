#include "dedup_window.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "clock.h"
#include "crc32c.h"
#include "little_endian.h"

namespace rowbank {
namespace {

constexpr std::size_t kCrcBytes = 4;
constexpr std::size_t kHeadBytes = kCrcBytes + 8;
constexpr std::size_t kAnswerBytes = 8 + 1 + 2;  // Of an answer's head: sequence, kind, length.
constexpr std::size_t kKindAt = 8;
constexpr std::size_t kLengthAt = 9;

std::string packed_answer(std::uint64_t sequence, std::uint8_t kind, std::string_view answer) {
  if (answer.size() > DedupWindow::kLongestAnswer) {
    throw std::length_error("answer: at most 65535 bytes are remembered, got " + std::to_string(answer.size()));
  }
  std::string packed;
  packed.reserve(kAnswerBytes + answer.size());
  append_number(&packed, sequence);
  append_number(&packed, kind);
  append_number(&packed, static_cast<std::uint16_t>(answer.size()));
  packed.append(answer);
  return packed;
}

}  // namespace

void DedupWindow::Client::put(std::uint64_t sequence, std::string packed) {
  const auto found = places.find(sequence);
  if (found != places.end()) {
    found->second->second = std::move(packed);
    return;
  }
  answers.emplace_back(sequence, std::move(packed));
  places[sequence] = std::prev(answers.end());
}

std::string DedupWindow::Client::packed() const {
  std::string packed(kCrcBytes, '\0');
  append_number(&packed, forgotten);
  for (const auto& [sequence, answer] : answers) {
    packed.append(answer);
  }
  const std::uint32_t crc = crc32c(0, packed.data() + kCrcBytes, packed.size() - kCrcBytes);
  std::memcpy(packed.data(), &crc, sizeof crc);
  return packed;
}

bool DedupWindow::unpack(std::string_view packed, Client* client) {
  if (packed.size() < kHeadBytes ||
      read_number<std::uint32_t>(packed, 0) != crc32c(0, packed.data() + kCrcBytes, packed.size() - kCrcBytes)) {
    return false;
  }
  client->forgotten = read_number<std::uint64_t>(packed, kCrcBytes);
  for (std::size_t at = kHeadBytes; at < packed.size();) {
    if (packed.size() - at < kAnswerBytes) {
      return false;
    }
    const std::size_t size = kAnswerBytes + read_number<std::uint16_t>(packed, at + kLengthAt);
    if (packed.size() - at < size) {
      return false;
    }
    client->put(read_number<std::uint64_t>(packed, at), std::string(packed.substr(at, size)));
    at += size;
  }
  return true;
}

Entered DedupWindow::enter(const std::string& client_id, std::uint64_t sequence, std::uint8_t kind) {
  const std::lock_guard<std::mutex> locked(mutex_);
  Client& known = client(client_id);
  const auto answered = known.places.find(sequence);
  if (answered != known.places.end()) {
    const std::string& packed = answered->second->second;
    if (static_cast<std::uint8_t>(packed[kKindAt]) != kind) {
      return {Known::kOtherKind, nullptr, {}};
    }
    return {Known::kAnswered, nullptr, packed.substr(kAnswerBytes)};
  }
  const auto other = known.under_way.find(sequence);
  if (other != known.under_way.end()) {  // However many later ones were faster.
    return {other->second->kind == kind ? Known::kUnderWay : Known::kOtherKind, other->second, {}};
  }
  if (sequence <= known.forgotten) {
    return {Known::kTooOld, nullptr, {}};
  }
  auto mine = std::make_shared<UnderWay>(client_id, sequence, kind);
  known.under_way[sequence] = mine;
  return {Known::kNew, std::move(mine), {}};
}

void DedupWindow::complete(UnderWay& mutation, std::string_view answer) {
  const std::lock_guard<std::mutex> locked(mutex_);
  leave(mutation, client(mutation.client_id));  // First, so that it is under way no more if its answer is too long.
  remember(mutation.client_id, mutation.sequence, mutation.kind, answer);
}

void DedupWindow::fail(UnderWay& mutation) {
  const std::lock_guard<std::mutex> locked(mutex_);
  leave(mutation, client(mutation.client_id));
}

void DedupWindow::leave(UnderWay& mutation, Client& client) {
  mutation.done = true;
  client.under_way.erase(mutation.sequence);
  if (waiting_ > 0) {
    left_.notify_all();
  }
}

bool DedupWindow::done(const UnderWay& mutation) const {
  const std::lock_guard<std::mutex> locked(mutex_);
  return mutation.done;
}

bool DedupWindow::wait(const UnderWay& mutation, double timeout_s) {
  const auto deadline = deadline_in(timeout_s);
  std::unique_lock<std::mutex> locked(mutex_);
  ++waiting_;
  const bool done = left_.wait_until(locked, deadline, [&] { return mutation.done; });
  --waiting_;
  return done;
}

void DedupWindow::replay(const std::string& client_id, std::uint64_t sequence, std::uint8_t kind,
                         std::string_view answer) {
  const std::lock_guard<std::mutex> locked(mutex_);
  if (sequence > client(client_id).forgotten) {
    remember(client_id, sequence, kind, answer);
  }
}

bool DedupWindow::restore(const std::string& client_id, std::string_view packed) {
  Client other;
  if (!unpack(packed, &other)) {
    return false;
  }
  const std::lock_guard<std::mutex> locked(mutex_);
  const auto found = clients_.find(client_id);
  other.heard = found != clients_.end() ? found->second.heard : heard_.insert(heard_.end(), client_id);
  clients_[client_id] = std::move(other);
  return true;
}

bool DedupWindow::merge(const std::string& client_id, std::string_view packed) {
  Client other;
  if (!unpack(packed, &other)) {
    return false;
  }
  const std::lock_guard<std::mutex> locked(mutex_);
  Client& known = client(client_id);
  known.forgotten = std::max(known.forgotten, other.forgotten);
  for (auto& [sequence, answer] : other.answers) {
    known.put(sequence, std::move(answer));
  }
  Answers answers = std::move(known.answers);
  answers.remove_if([&](const auto& one) { return one.first <= known.forgotten; });
  answers.sort([](const auto& one, const auto& two) { return one.first < two.first; });
  known.answers = std::move(answers);
  known.places.clear();
  for (auto at = known.answers.begin(); at != known.answers.end(); ++at) {
    known.places[at->first] = at;
  }
  changed_.insert(client_id);
  return true;
}

WindowChanges DedupWindow::take_changes() {
  const std::lock_guard<std::mutex> locked(mutex_);
  WindowChanges changes;
  for (const std::string& name : changed_) {
    const auto found = clients_.find(name);
    if (found != clients_.end()) {
      changes.windows.emplace_back(name, found->second.packed());
    }
  }
  changes.gone.assign(gone_.begin(), gone_.end());
  changed_.clear();
  gone_.clear();
  return changes;
}

void DedupWindow::give_back(const std::vector<std::string>& changed, const std::vector<std::string>& gone) {
  const std::lock_guard<std::mutex> locked(mutex_);
  changed_.insert(changed.begin(), changed.end());
  for (const std::string& name : gone) {
    if (clients_.count(name) == 0) {
      gone_.insert(name);
    }
  }
}

void DedupWindow::mark_all_changed() {
  const std::lock_guard<std::mutex> locked(mutex_);
  changed_.insert(heard_.begin(), heard_.end());
}

std::vector<std::string> DedupWindow::clients() const {
  const std::lock_guard<std::mutex> locked(mutex_);
  return {heard_.begin(), heard_.end()};
}

std::optional<std::string> DedupWindow::packed(const std::string& client_id) const {
  const std::lock_guard<std::mutex> locked(mutex_);
  const auto found = clients_.find(client_id);
  return found == clients_.end() ? std::nullopt : std::optional(found->second.packed());
}

void DedupWindow::remember(const std::string& client_id, std::uint64_t sequence, std::uint8_t kind,
                           std::string_view answer) {
  Client& known = client(client_id);
  known.put(sequence, packed_answer(sequence, kind, answer));
  while (known.answers.size() > window_) {
    const std::uint64_t oldest = known.answers.front().first;
    known.places.erase(oldest);
    known.answers.pop_front();
    known.forgotten = std::max(known.forgotten, oldest);
  }
  changed_.insert(client_id);
}

DedupWindow::Client& DedupWindow::client(const std::string& client_id) {
  const auto found = clients_.find(client_id);
  if (found != clients_.end()) {
    heard_.splice(heard_.end(), heard_, found->second.heard);
    return found->second;
  }
  Client& made = clients_[client_id];
  made.heard = heard_.insert(heard_.end(), client_id);
  gone_.erase(client_id);
  while (clients_.size() > max_clients_) {
    const auto oldest = std::find_if(heard_.begin(), heard_.end(),
                                     [&](const std::string& name) { return clients_.at(name).under_way.empty(); });
    if (oldest == heard_.end() || *oldest == client_id) {
      break;
    }
    changed_.erase(*oldest);
    gone_.insert(*oldest);
    clients_.erase(*oldest);
    heard_.erase(oldest);
  }
  return made;
}

}  // namespace rowbank
