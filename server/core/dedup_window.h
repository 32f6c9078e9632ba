// Recognises repeated mutations by the ids of their requests. The contract is told in ps/durability/dedup.py.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

namespace rowbank {

// A mutation under way. What shares it with Python shares this, without a reference to an object there: to give that
// back would take the interpreter's lock, under locks that its holders wait for.
struct UnderWay : std::enable_shared_from_this<UnderWay> {
  UnderWay(std::string client_id, std::uint64_t sequence, std::uint8_t kind)
      : client_id(std::move(client_id)), sequence(sequence), kind(kind) {}

  const std::string client_id;
  const std::uint64_t sequence;
  const std::uint8_t kind;
  bool done = false;  // Under the window's lock.
};

enum class Known : std::uint8_t {
  kNew,        // The caller works on it, and must `complete` or `fail` it.
  kUnderWay,   // Somebody else does.
  kAnswered,   // It was answered before.
  kOtherKind,  // Its id was another kind of mutation's.
  kTooOld,     // Nobody knows what became of it.
};

struct Entered {
  Known known = Known::kNew;
  std::shared_ptr<UnderWay> under_way;
  std::string answer;
};

struct WindowChanges {
  std::vector<std::pair<std::string, std::string>> windows;  // Client and window, packed.
  std::vector<std::string> gone;
};

// Thread-safe.
class DedupWindow {
 public:
  static constexpr std::size_t kLongestAnswer = 0xFFFF;

  DedupWindow(std::size_t window, std::size_t max_clients) : window_(window), max_clients_(max_clients) {}

  Entered enter(const std::string& client_id, std::uint64_t sequence, std::uint8_t kind);
  // Throws std::length_error for an answer longer than kLongestAnswer.
  void complete(UnderWay& mutation, std::string_view answer);
  void fail(UnderWay& mutation);
  bool done(const UnderWay& mutation) const;
  // Whether it is done within that time.
  bool wait(const UnderWay& mutation, double timeout_s);

  void replay(const std::string& client_id, std::uint64_t sequence, std::uint8_t kind, std::string_view answer);
  // Puts a packed window in the place of what is known of the client, or adds it. False: it is corrupt.
  bool restore(const std::string& client_id, std::string_view packed);
  bool merge(const std::string& client_id, std::string_view packed);

  WindowChanges take_changes();
  void give_back(const std::vector<std::string>& changed, const std::vector<std::string>& gone);
  void mark_all_changed();
  std::vector<std::string> clients() const;
  // Nothing: the client is not known any more.
  std::optional<std::string> packed(const std::string& client_id) const;

 private:
  using Answers = std::list<std::pair<std::uint64_t, std::string>>;  // Sequences and packed answers, the oldest first.
  struct Client {
    Answers answers;
    std::unordered_map<std::uint64_t, Answers::iterator> places;
    std::unordered_map<std::uint64_t, std::shared_ptr<UnderWay>> under_way;
    std::uint64_t forgotten = 0;  // The highest sequence whose answer was dropped from the window.
    std::list<std::string>::iterator heard;

    void put(std::uint64_t sequence, std::string packed);
    std::string packed() const;
  };

  static bool unpack(std::string_view packed, Client* client);
  // What follows REQUIRES: the caller holds the lock.
  Client& client(const std::string& client_id);
  void remember(const std::string& client_id, std::uint64_t sequence, std::uint8_t kind, std::string_view answer);
  void leave(UnderWay& mutation, Client& client);

  const std::size_t window_;
  const std::size_t max_clients_;
  mutable std::mutex mutex_;
  std::condition_variable left_;
  std::size_t waiting_ = 0;
  std::unordered_map<std::string, Client> clients_;
  std::list<std::string> heard_;  // Clients, the one heard last at the end.
  std::unordered_set<std::string> changed_;
  std::unordered_set<std::string> gone_;
};

}  // namespace rowbank
