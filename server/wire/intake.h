// Which requests have begun to arrive and have not yet: so many of all, and of one machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace rowbank::wire {

class Connection;

// The machine that a connection comes from; of this machine, the connection itself.
std::string_view place_of(const std::string& peer);

// Thread-safe. Its lock is taken after a connection's, if both are.
class Intake {
 public:
  // A request that gave way to another one, and is to be told.
  struct Displaced {
    std::weak_ptr<Connection> connection;
    std::int32_t stream;
    std::uint64_t id;
  };

  Intake(std::size_t most, std::size_t most_a_place) : most_(most), most_a_place_(most_a_place) {}

  // One more begins; returns its name, or 0: there are too many. Where there are as many as may be, the one that takes
  // longest gives way, or one of the place that has most.
  std::uint64_t begin(const std::string& peer, std::weak_ptr<Connection> connection, std::int32_t stream,
                      std::int64_t now_ns);
  // It is over; `whole`: and the request is worked on from now on.
  void end(std::uint64_t id, bool whole);
  // A request was worked on.
  void worked();
  // Requests that arrive, or wait, or are worked on.
  std::size_t unfinished() const;
  std::vector<Displaced> take_displaced();

 private:
  struct Arriving {
    std::string place;
    std::int64_t began_ns;
    std::weak_ptr<Connection> connection;
    std::int32_t stream;
  };
  bool make_room(const std::string& place, std::int64_t now_ns);
  void leave(const std::string& place);

  const std::size_t most_;
  const std::size_t most_a_place_;
  mutable std::mutex mutex_;  // Of what follows.
  std::uint64_t last_ = 0;
  std::map<std::uint64_t, Arriving> arriving_;  // The one that began first is the first.
  std::unordered_map<std::string, std::size_t> places_;
  std::vector<Displaced> displaced_;
  std::size_t working_ = 0;
};

}  // namespace rowbank::wire
