// The way in: which calls are let in, and their requests as they arrive.
#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "connection.h"
#include "stream.h"

namespace rowbank::wire {
namespace {

// A caller who does not read its answers may begin no more calls; frames are read all the same, for they may say that
// it does now.
constexpr std::size_t kMostUnsent = std::size_t{16} << 20;
// Room for a request whose length was said and whose bytes have not come: more is had as they do.
constexpr std::size_t kFirstRoom = std::size_t{2} << 20;

bool is_grpc(std::string_view content_type) {
  constexpr std::string_view kGrpc = "application/grpc";
  return content_type.substr(0, kGrpc.size()) == kGrpc &&
         (content_type.size() == kGrpc.size() || content_type[kGrpc.size()] == '+' ||
          content_type[kGrpc.size()] == ';');
}

}  // namespace

void Connection::begin(Stream* stream) {
  if (stream->header_bytes > rules_->max_header_bytes) {
    refuse(stream, Status::kResourceExhausted,
           "metadata: expected at most " + std::to_string(rules_->max_header_bytes) + " bytes, got " +
               std::to_string(stream->header_bytes));
    return;
  }
  if (stream->odd_header) {
    refuse(stream, Status::kInternal, "metadata: expected printable ASCII, got something else");
    return;
  }
  if (stream->method != "POST") {
    refuse_http(stream, "405", "expected POST, got " + stream->method.substr(0, 32));
    return;
  }
  if (!is_grpc(stream->content_type)) {
    refuse_http(stream, "415", "expected application/grpc");
    return;
  }
  std::string text;
  // Before anything is said of methods, and before it counts among those that arrive.
  if (std::optional<Answer> refusal = rules_->look(stream->path, stream->call, shared_from_this())) {
    refuse(stream, *refusal);
    return;
  }
  const int method = rules_->method_of(stream->path, &text);
  if (method < 0) {
    refuse(stream, Status::kUnimplemented, text);
    return;
  }
  if (!stream->encoding.empty() && stream->encoding != "identity") {
    refuse(stream, Status::kUnimplemented, "requests are not compressed here; send them as they are (identity)");
    return;
  }
  if (!stream->server_id.empty() && stream->server_id != rules_->server_id) {
    refuse(stream, rules_->refusal(Refusal::kWrongServer));
    return;
  }
  stream->arrival = unsent_ > kMostUnsent ? 0 : rules_->may_arrive(shared_from_this(), stream->id);
  if (stream->arrival == 0) {
    refuse(stream, rules_->refusal(Refusal::kTooManyArrive));
    return;
  }
  stream->call->method = static_cast<std::size_t>(method);
  stream->begun = true;
}

bool Connection::take(Stream* stream, const char* data, std::size_t size) {
  while (stream->prefix_bytes < kPrefixBytes && size > 0) {
    stream->prefix[stream->prefix_bytes++] = static_cast<std::uint8_t>(*data++);
    --size;
    if (stream->prefix_bytes == kPrefixBytes && !take_prefix(stream)) {
      return false;
    }
  }
  if (size == 0) {
    return true;
  }
  Call& call = *stream->call;
  if (size > call.body_bytes - stream->body_bytes) {
    refuse(stream, rules_->refusal(Refusal::kNotOneMessage));
    return false;
  }
  if (stream->body_bytes + size > stream->room_bytes && !make_room(stream, stream->body_bytes + size)) {
    return false;
  }
  std::memcpy(call.body.data + stream->body_bytes, data, size);
  stream->body_bytes += size;
  return true;
}

bool Connection::make_room(Stream* stream, std::size_t least) {
  Call& call = *stream->call;
  const std::size_t wanted = std::min(call.body_bytes, std::max({least, 2 * stream->room_bytes, kFirstRoom}));
  Room room = rules_->allocate(call.method, wanted);
  if (room.data == nullptr) {
    refuse(stream, Status::kResourceExhausted, "no memory could be had for the request; nothing was done");
    return false;
  }
  if (stream->body_bytes > 0) {
    std::memcpy(room.data, call.body.data, stream->body_bytes);
  }
  call.body = std::move(room);
  stream->room_bytes = wanted;
  return true;
}

bool Connection::take_prefix(Stream* stream) {
  const std::uint8_t* prefix = stream->prefix;
  const std::size_t size = static_cast<std::size_t>(prefix[1]) << 24 | static_cast<std::size_t>(prefix[2]) << 16 |
                           static_cast<std::size_t>(prefix[3]) << 8 | prefix[4];
  if (prefix[0] != 0) {
    refuse(stream, Status::kUnimplemented, "requests are not compressed here; send them as they are (identity)");
    return false;
  }
  if (size > rules_->max_message_bytes) {
    refuse(stream, Status::kResourceExhausted,
           "Received message larger than max (" + std::to_string(size) + " vs. " +
               std::to_string(rules_->max_message_bytes) + ")");
    return false;
  }
  stream->call->body_bytes = size;
  return make_room(stream, 0);
}

void Connection::complete(Stream* stream) {
  if (stream->handed_on) {
    return;
  }
  if (stream->prefix_bytes < kPrefixBytes || stream->body_bytes < stream->call->body_bytes) {
    refuse(stream, rules_->refusal(Refusal::kNotOneMessage));
    return;
  }
  stream->handed_on = true;
  stream->call->connection = shared_from_this();
  complete_->push_back(stream->call);
  end_arrival(stream, true);
}

void Connection::end_arrival(Stream* stream, bool whole) {
  if (stream->arrival != 0) {
    rules_->arrived(std::exchange(stream->arrival, 0), whole);
  }
}

void Connection::drop_displaced(std::int32_t stream_id, std::uint64_t arrival) {
  Stream* stream = find(stream_id);
  if (stream != nullptr && stream->arrival == arrival) {
    refuse(stream, rules_->refusal(Refusal::kSlow));
  }
}

}  // namespace rowbank::wire
