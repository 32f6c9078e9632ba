// One stream of a connection: a call on its way in, and its answer on its way out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "connection.h"

namespace rowbank::wire {

inline constexpr std::size_t kPrefixBytes = 5;  // Of a message: whether it is compressed, and its length.
inline constexpr std::size_t kQueuedBytes = std::size_t{4} << 20;  // In the outbox, before nghttp2 is asked for more.

struct Connection::Stream {
  std::int32_t id = 0;
  std::shared_ptr<Call> call;
  std::string path;
  std::string method;
  std::string content_type;
  std::string encoding;
  std::string server_id;
  std::size_t header_bytes = 0;
  bool odd_header = false;  // Metadata with bytes that gRPC does not allow.
  bool begun = false;       // Its headers are whole, and it was let in.
  bool refused = false;     // It has its answer, whatever else arrives.
  bool stopped = false;     // It was, went on all the same, and was told to stop.
  bool handed_on = false;   // Its call is being worked on.
  std::int64_t began_ns = 0;
  std::uint8_t prefix[kPrefixBytes] = {};
  std::size_t prefix_bytes = 0;
  std::size_t body_bytes = 0;  // Arrived.
  std::size_t room_bytes = 0;  // Of the call's body, for now.
  std::uint64_t arrival = 0;   // Its name among those that arrive; 0: it is not one of them.
  // The answer, while it is sent.
  Answer answer;
  std::uint8_t answer_prefix[kPrefixBytes] = {};
  std::size_t sent = 0;  // Of prefix and message.
};

}  // namespace rowbank::wire
