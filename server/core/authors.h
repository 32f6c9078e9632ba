// Who made which of the latest mutations, by their positions: a few megabytes of RAM, forgotten with the process.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace rowbank {

// A client's id, and the name of the token that it came with; empty: none.
using Author = std::pair<std::string, std::string>;

// Thread-safe.
class Authors {
 public:
  void note(std::uint64_t position, const std::string& client_id, const std::string& caller) {
    const std::string name = client_id + '\0' + caller;
    const std::lock_guard<std::mutex> locked(mutex_);
    auto found = numbers_.find(name);
    if (found == numbers_.end()) {
      if (numbers_.size() >= kMostAuthors) {
        numbers_.clear();
        authors_.clear();
        std::fill(made_.begin(), made_.end(), Made{});
      }
      found = numbers_.emplace(name, static_cast<std::uint32_t>(authors_.size())).first;
      authors_.emplace_back(client_id, caller);
    }
    made_[next_] = {position, found->second};
    next_ = (next_ + 1) % kKept;
  }

  // Nothing: not known any more.
  std::optional<Author> of(std::uint64_t position) const {
    if (position == 0) {
      return std::nullopt;
    }
    const std::lock_guard<std::mutex> locked(mutex_);
    const auto found =
        std::find_if(made_.begin(), made_.end(), [&](const Made& made) { return made.position == position; });
    return found == made_.end() ? std::nullopt : std::optional(authors_[found->author]);
  }

 private:
  static constexpr std::size_t kKept = 131'072;
  static constexpr std::size_t kMostAuthors = 4096;
  struct Made {
    std::uint64_t position = 0;
    std::uint32_t author = 0;
  };

  mutable std::mutex mutex_;
  std::vector<Made> made_{kKept};
  std::size_t next_ = 0;
  std::vector<Author> authors_;
  std::unordered_map<std::string, std::uint32_t> numbers_;
};

}  // namespace rowbank
