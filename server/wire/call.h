// One call of a method: its request, and its answer.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "clock.h"
#include "outbox.h"

namespace rowbank::wire {

class Connection;

using Pairs = std::vector<std::pair<std::string, std::string>>;

// gRPC's codes, as far as this side gives them by itself.
enum class Status : int {
  kUnknown = 2,
  kResourceExhausted = 8,
  kUnimplemented = 12,
  kInternal = 13,
};

// Room for a request. `data` is null where no memory could be had.
struct Room {
  char* data = nullptr;
  std::shared_ptr<void> owner;
  bool is_python = false;  // Whether the owner is an object of Python's.
};

struct Call : std::enable_shared_from_this<Call> {
  std::shared_ptr<Connection> connection;
  std::int32_t stream = 0;
  std::size_t method = 0;        // Its place in the endpoint's list.
  Pairs metadata;                // Without what HTTP and gRPC themselves say.
  std::int64_t deadline_ns = 0;  // By the steady clock; 0: none.
  Room body;                     // The request, without its prefix.
  std::size_t body_bytes = 0;
  std::atomic<bool> gone{false};  // The caller went away.
};

struct Answer {
  int status = 0;
  std::string text;  // As it goes on the wire, percent-encoded.
  Pairs trailers;
  SharedBytes message;  // Sent if the status is OK.
};

// Why a call is refused before anybody looks at its request.
// Or, of the last one, because there was no memory to go on with it.
enum class Refusal : std::size_t { kWrongServer, kTooManyArrive, kSlow, kNotOneMessage, kBroken };
inline constexpr std::size_t kRefusals = 5;

}  // namespace rowbank::wire
